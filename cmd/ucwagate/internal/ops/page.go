package ops

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

var (
	//go:embed assets/status.html
	pageText string
	//go:embed assets/status.css
	styleSheet []byte
	//go:embed assets/status.js
	script []byte
	//go:embed assets/icon.svg
	icon []byte

	pageTemplate = template.Must(template.New("status").Parse(pageText))
)

// page shows the status. It is whole without the script, which then keeps it up
// to date.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	var text bytes.Buffer
	err := pageTemplate.Execute(&text, struct {
		*status
		Width, Height, Limit int
	}{s.status(r.Context()), plotWidth, plotHeight, plotLimit})
	if err != nil {
		s.log.ErrorContext(r.Context(), "the status page could not be written", "error", err)
		plain(w, http.StatusInternalServerError, "the page cannot be written\n")
		return
	}
	send(w, http.StatusOK, "text/html; charset=utf-8", text.Bytes())
}

func (s *Server) statusJSON(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.status(r.Context()))
}
