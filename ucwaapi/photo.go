package ucwaapi

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/signin"
)

const (
	// photoSize is the size of a photo where a client names none (HR48X48).
	photoSize = 48
	// photoAge is how long a client may keep a photo without asking again.
	photoAge = time.Hour
	// photoCookie is the cookie that stands for the token in requests for
	// photos: a browser puts their URLs into img elements.
	photoCookie = "cwt_ucwa"
)

var sizePattern = regexp.MustCompile(`^(?i:HR)(\d{1,4})[xX](\d{1,4})$`)

// photo serves photo and contactPhoto, which are one URL.
func (s *Server) photo(k *call) error { return s.photoOf(k, k.Param("contact")) }

// ownPhoto is the form of the reference page, which names nobody.
func (s *Server) ownPhoto(k *call) error { return s.photoOf(k, k.principal.Address) }

func (s *Server) photoOf(k *call, address string) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	px := photoSize
	if size, ok := in.String("size"); ok && size != "" {
		m := sizePattern.FindStringSubmatch(strings.TrimSpace(size))
		if m == nil {
			return gateway.Invalid(gateway.Parameter{Name: "size", Problem: "must have the form HR{height}X{width}, such as HR64X64"})
		}
		height, _ := strconv.Atoi(m[1]) // digits
		width, _ := strconv.Atoi(m[2])
		px = min(height, width)
	}
	photo, err := s.gateway.Photo(k.Request().Context(), k.principal, address, px)
	if err != nil {
		return err
	}
	w := k.Response()
	h := w.Header()
	s.header.common(h)
	sum := sha256.Sum256(photo.Content)
	tag := strconv.FormatUint(binary.BigEndian.Uint64(sum[:])>>16, 10)
	h["ETag"] = []string{`"` + tag + `"`}
	h["Cache-Control"] = []string{"private, max-age=" + strconv.Itoa(int(photoAge/time.Second))}
	h["Expires"] = []string{time.Now().Add(photoAge).UTC().Format(http.TimeFormat)}
	h["X-Content-Type-Options"] = s.header.noSniff
	if matchesETag(k.Request().Header["If-None-Match"], tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = []string{imageType(photo.Type)}
	h["Content-Length"] = []string{strconv.Itoa(len(photo.Content))}
	s.deliver(w, k.Request(), http.StatusOK, photo.Content)
	return nil
}

// imageType lets nothing through but images: a photo is shown on the gateway's
// own origin.
func imageType(t string) string {
	t, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(t)), ";")
	switch t {
	case "image/png", "image/gif", "image/webp", "image/bmp":
		return t
	}
	return "image/jpeg"
}

// setPhotoCookie gives the client the cookie for the photos of its application.
// It lives as long as the token it stands for; each GET of the application
// renews it. A page on another site sends it only with these attributes, which
// need https.
func (s *Server) setPhotoCookie(k *call) {
	value := s.signIn.PhotoCookie(k.identity)
	if value == "" {
		return
	}
	cookie := photoCookie + "=" + value + "; path=" + k.links.photos()
	if strings.HasPrefix(s.origin.of(k.Request()), "https:") {
		cookie += "; secure; SameSite=None; Partitioned"
	}
	h := k.Response().Header()
	h["Set-Cookie"] = []string{cookie + "; HttpOnly"}
}

// authenticatePhoto returns who asks for a photo: by token, or by cookie.
func (s *Server) authenticatePhoto(r *http.Request) (signin.Identity, error) {
	id, err := s.signIn.Authenticate(r)
	if !errors.Is(err, signin.ErrNoCredentials) {
		return id, err
	}
	for _, c := range r.CookiesNamed(photoCookie) {
		if id, cookieErr := s.signIn.AuthenticatePhoto(c.Value); cookieErr == nil {
			return id, nil
		}
	}
	return id, err
}
