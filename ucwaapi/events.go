package ucwaapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ucwagate/gateway"
	"ucwagate/gateway/session"
)

// events is the P-GET: it is held until there is a package.
func (s *Server) events(k *call) error {
	poll, instance, err := s.poll(k)
	if err != nil {
		return err
	}
	p, err := s.gateway.Events(k.Request().Context(), k.app, instance, poll)
	if x := exchangeOf(k.Request()); x != nil && x.OnRelease != nil {
		x.OnRelease()
	}
	if err != nil {
		return err
	}
	return s.sendPackage(k, p, instance)
}

// poll reads the parameters of a P-GET. An ack that is missing or no number is
// out of order, not an error; timers out of range are brought to their bounds.
func (s *Server) poll(k *call) (p session.Poll, instance string, err error) {
	in, err := s.input(k)
	if err != nil {
		return p, "", err
	}
	instance, _ = in.String("instanceId")
	p.Ack = -1
	if text, ok := in.String("ack"); ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n >= 0 {
			p.Ack = n
		}
	}
	var wrong []gateway.Parameter
	number := func(name string) (int, bool) {
		text, ok := in.String(name)
		if !ok {
			return 0, false
		}
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range is a number all the same
			wrong = append(wrong, gateway.Parameter{Name: name, Problem: "must be a whole number"})
		}
		return n, true
	}
	for _, timer := range []struct {
		name string
		to   *time.Duration
		min  time.Duration
	}{{"low", &p.Low, session.MinAggregation}, {"medium", &p.Medium, session.MinAggregation}, {"timeout", &p.Timeout, session.MinTimeout}} {
		if n, ok := number(timer.name); ok {
			*timer.to = min(max(time.Duration(min(max(n, 0), 1<<20))*time.Second, timer.min), session.MaxTimer)
		}
	}
	if p.Priority, _ = number("priority"); p.Priority < 0 {
		wrong = append(wrong, gateway.Parameter{Name: "priority", Problem: "must be 0 or more"})
	}
	if wrong != nil {
		return p, "", gateway.Invalid(wrong...)
	}
	return p, instance, nil
}

// sendPackage answers a P-GET.
func (s *Server) sendPackage(k *call, p *session.Package, instance string) error {
	s.header.common(k.Response().Header())
	s.encode(k, http.StatusOK, func(dst []byte) []byte {
		if k.format.XML {
			return appendPackageXML(dst, k.links, p, instance, s.nextWithResync)
		}
		return appendPackageJSON(dst, k.links, p, instance, s.nextWithResync)
	})
	return nil
}

// packageLinks are the links of a package beside self. A client that does not
// know resume finds next with the same href.
func packageLinks(p *session.Package, nextWithResync bool) []string {
	switch {
	case p.Rel == session.Resume:
		return []string{"resume", "next"}
	case p.Rel == session.Resync && nextWithResync:
		return []string{"resync", "next"}
	case p.Rel == session.Resync:
		return []string{"resync"}
	}
	return []string{"next"}
}
