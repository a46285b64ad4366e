package ucwaapi

import (
	"net/http"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// policies says what a gateway for presence has: photos, and nothing to talk by.
func (s *Server) policies(k *call) error {
	photos := "Enabled"
	if !s.gateway.HasPhotos() {
		photos = "Disabled"
	}
	return s.send(k, http.StatusOK, representation.New("policies", k.links.policies()).
		Set("emoticons", "Disabled").
		Set("htmlMessaging", "Disabled").
		Set("logging", "Disabled").
		Set("photos", photos).
		Set("saveMessagingHistory", "Disabled").
		Set("telephonyMode", "None"))
}

// reportMyNetwork takes in where a client is, which nothing here depends on.
func (s *Server) reportMyNetwork(k *call) error {
	in, err := s.scalar(k, "clientNetworkType", "ip", "mac", "subnetID", "bssid", "chassisID", "portID", "switchID")
	if err != nil {
		return err
	}
	network, err := enum(in, "clientNetworkType", "External", "Internal")
	if err != nil {
		return err
	}
	if network == "" {
		return gateway.Invalid(gateway.Parameter{Name: "clientNetworkType", Problem: "is required: External or Internal"})
	}
	h := k.Response().Header()
	s.header.common(h)
	h["Location"] = []string{k.links.reportMyNetwork()}
	h["Content-Length"] = []string{"0"}
	k.Response().WriteHeader(http.StatusCreated)
	return nil
}
