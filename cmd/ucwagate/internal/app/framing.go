package app

import "net/http"

// closeAfterChunks ends a connection of HTTP/1.1 after a request in chunks.
// Such a request may also have carried a Content-Length, which net/http drops
// before anybody sees it, and a proxy that counts by that length takes what lies
// behind the last chunk for a part of the body: an attacker's next request would
// come from the proxy. RFC 9112, section 6.1, wants the connection closed.
func closeAfterChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
