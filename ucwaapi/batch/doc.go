// Package batch owns the multipart/batching format of UCWA 2.0: a multipart
// body (RFC 2046) each of whose parts is a whole HTTP/1.1 request on the way in
// and a whole HTTP/1.1 response on the way out.
//
//	Boundary(Content-Type) → NewReader(body, …) → Next, Next, …, io.EOF
//	NewWriter(w, NewBoundary()) → Add, Add, …, Close
//
// The format only: the package must never know routes, applications, sign-in
// or a web framework. Which requests may stand in a batch, how many a user may
// have under way, and what answers a part that cannot be understood is decided
// by the caller.
//
// The reader is tolerant where real clients are careless, the writer is strict
// where real clients are: Microsoft's sample library (Batch.js and Mime.js)
// splits an answer at CRLF and looks for words in each line, so an answer that
// is merely correct is not enough. The comments name these places.
package batch
