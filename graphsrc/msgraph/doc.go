// Package msgraph speaks to Microsoft Graph: it builds every request with the
// typed request builders of msgraph-sdk-go, gets tokens through azidentity and
// decodes the answers into small structs of its own. It is the only package
// that imports the SDK, kiota or azidentity, because they cost minutes of
// compile time.
//
// A call passes these layers, outermost first:
//
//	Client.Presences …       logical call: deadline, panics, paging
//	SDK request builder      URL template, query parameters, body
//	kiota request adapter    two handlers: UrlReplace, ParametersNameDecoding
//	authTransport            host check, Authorization, one re-send on 401
//	wrap(…)                  the caller's own: budget, metrics; once per send
//	http.Transport           connections, HTTP/2, gzip
//
// The handlers of the SDK that re-send by themselves (retry, redirect,
// compression) are absent, so one logical call is one physical send per page;
// the one exception is a refused token, which is renewed and tried once more.
// The SDK's own decoding is by-passed by a response handler: it costs 28 times
// the allocations of encoding/json, panics on error bodies without a message
// and loses the status of errors that are not JSON.
//
// The package must never know when a request is sent or what becomes of its
// answer: no schedule, no retry, no cache of what was read.
package msgraph
