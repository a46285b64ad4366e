package ucwaapi

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
	"ucwagate/ucwaapi/signin"
)

// The members of the ErrorCode and ErrorSubcode enumerations that are used.
const (
	codeBadRequest           = "BadRequest"
	codeForbidden            = "Forbidden"
	codeNotFound             = "NotFound"
	codeMethodNotAllowed     = "MethodNotAllowed"
	codeConflict             = "Conflict"
	codeGone                 = "Gone"
	codeEntityTooLarge       = "EntityTooLarge"
	codeUnsupportedMediaType = "UnsupportedMediaType"
	codeServiceFailure       = "ServiceFailure"
	codeServiceUnavailable   = "ServiceUnavailable"
	codeTimeout              = "Timeout"
	codeGatewayTimeout       = "GatewayTimeout"
	codePreconditionFailed   = "PreconditionFailed"
	codePreconditionRequired = "PreconditionRequired"
	codeTooManyRequests      = "TooManyRequests"

	messageFailure = "The gateway could not answer this request."
)

// errorRow is how one kind of error looks on the wire.
type errorRow struct {
	status        int
	code, subcode string
}

// errorTable maps the reasons of the domain to the protocol: here and nowhere
// else.
var errorTable = map[gateway.Reason]errorRow{
	gateway.Failure:                    {http.StatusInternalServerError, codeServiceFailure, ""},
	gateway.NotFound:                   {http.StatusNotFound, codeNotFound, ""},
	gateway.ApplicationNotFound:        {http.StatusNotFound, codeNotFound, "ApplicationNotFound"},
	gateway.InactiveApplicationExpired: {http.StatusGone, codeGone, "InactiveApplicationExpired"},
	gateway.TooManyApplications:        {http.StatusGone, codeGone, "TooManyApplications"},
	gateway.DestinationNotFound:        {http.StatusNotFound, codeNotFound, "DestinationNotFound"},
	gateway.Forbidden:                  {http.StatusForbidden, codeForbidden, ""},
	gateway.InvalidParameter:           {http.StatusBadRequest, codeBadRequest, "ParameterValidationFailure"},
	gateway.TooManyContacts:            {http.StatusForbidden, codeForbidden, "TooManyContacts"},
	gateway.Busy:                       {http.StatusServiceUnavailable, codeServiceUnavailable, ""},
	gateway.TooManyWaiting:             {http.StatusServiceUnavailable, codeServiceUnavailable, ""},
	gateway.TooManyRequests:            {http.StatusTooManyRequests, codeTooManyRequests, ""},
	gateway.Unavailable:                {http.StatusServiceUnavailable, codeServiceUnavailable, ""},
	gateway.Timeout:                    {http.StatusGatewayTimeout, codeTimeout, ""},
	gateway.LimitExceeded:              {http.StatusForbidden, codeForbidden, "LimitExceeded"},
	gateway.PGetReplaced:               {http.StatusConflict, codeConflict, "PGetReplaced"},
	gateway.MakeMeAvailableRequired:    {http.StatusConflict, codeConflict, "MakeMeAvailableRequired"},
	gateway.AlreadyExists:              {http.StatusConflict, codeConflict, "AlreadyExists"},
	gateway.OperationNotSupported:      {http.StatusForbidden, codeForbidden, "OperationNotSupported"},
	gateway.ListFull:                   {http.StatusConflict, codeConflict, "LimitExceeded"},
	gateway.Changed:                    {http.StatusPreconditionFailed, codePreconditionFailed, ""},
	gateway.TooManyGroups:              {http.StatusConflict, codeConflict, "TooManyGroups"},
	gateway.PhotoTimeout:               {http.StatusGatewayTimeout, codeGatewayTimeout, ""},
}

// protocolError is an error of this side of the gateway: it is about the
// request, not about what is asked for.
type protocolError struct {
	errorRow
	message    string
	retryAfter time.Duration
	limit      string // the limit that was met, for who counts; often none
}

func (e *protocolError) Error() string { return e.message }

var (
	errPreconditionRequired = &protocolError{
		errorRow: errorRow{http.StatusPreconditionRequired, codePreconditionRequired, ""},
		message:  "A PUT needs the header If-Match with the entity tag of what it replaces.",
	}
	errPreconditionFailed = &protocolError{
		errorRow: errorRow{http.StatusPreconditionFailed, codePreconditionFailed, ""},
		message:  "The resource has changed: If-Match does not name its entity tag.",
	}
	errVersion = &protocolError{
		errorRow: errorRow{http.StatusNotFound, codeNotFound, "APIVersionNotSupported"},
		message:  "X-MS-RequiresMinResourceVersion asks for a revision above 2, the highest there is.",
	}
)

// retryUnavailable is the Retry-After of a 503 whose cause names none.
const retryUnavailable = 10 * time.Second

// sendError is Echo's error handler: whatever a handler returns ends here.
func (s *Server) sendError(err error, c echo.Context) {
	r := c.Request()
	if c.Response().Committed || clientGone(r.Context(), err) {
		return
	}
	var http4 *echo.HTTPError
	if errors.As(err, &http4) && strings.HasPrefix(r.URL.Path, "/ucwa/") {
		// Whoever has not signed in learns nothing about what is there.
		if who, refused := s.signIn.Authenticate(r); refused != nil {
			if err = s.refuse(c, refused); err == nil {
				return
			}
		} else if tooMany := s.admitUser(r.Context(), who.Address, 1); tooMany != nil {
			err = tooMany
		}
	}
	s.tellLimit(err)
	row, reason, retry := describe(err)
	if retry > 0 {
		c.Response().Header()["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(retry.Seconds())))}
	}
	if hasLimit(err) {
		// The next request of a flood shall cost a connection.
		c.Response().Header()["Connection"] = []string{"close"}
	}
	if row.status >= http.StatusInternalServerError {
		id := requestID()
		reason.Debug = []representation.Parameter{{Name: "requestId", Reason: id}}
		s.log.WarnContext(r.Context(), "a request failed", "requestId", id, "method", r.Method, "route", c.Path(), "status", row.status, "error", err)
	}
	if errors.Is(err, errOriginNotAllowed) {
		signin.SetDiagnostics(c.Response().Header(), diagnosticsOrigin, s.origin.of(r))
	}
	s.writeReason(c.Response(), r, reason, row.status)
}

// describe finds the status and the body for an error.
func describe(err error) (errorRow, *representation.Reason, time.Duration) {
	var domain *gateway.Error
	if errors.As(err, &domain) {
		row := errorTable[domain.Reason]
		reason := &representation.Reason{Code: row.code, Subcode: row.subcode, Message: domain.Message}
		for _, p := range domain.Parameters {
			reason.Parameters = append(reason.Parameters, representation.Parameter{Name: p.Name, Reason: p.Problem})
		}
		retry := domain.RetryAfter
		switch {
		case row.status != http.StatusServiceUnavailable && row.status != http.StatusTooManyRequests:
			retry = 0
		case retry <= 0:
			retry = retryUnavailable
		}
		return row, reason, retry
	}
	var own *protocolError
	if errors.As(err, &own) {
		return own.errorRow, &representation.Reason{Code: own.code, Subcode: own.subcode, Message: own.message}, own.retryAfter
	}
	row := errorRow{http.StatusInternalServerError, codeServiceFailure, ""}
	message := messageFailure
	var tooLarge *http.MaxBytesError
	var syntax *representation.SyntaxError
	var http4 *echo.HTTPError
	switch {
	case errors.As(err, &tooLarge):
		row = errorRow{http.StatusRequestEntityTooLarge, codeEntityTooLarge, ""}
		message = "The request body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes."
	case errors.Is(err, errOriginNotAllowed):
		row = errorRow{http.StatusForbidden, codeForbidden, ""}
		message = diagnosticsOrigin.Reason
	case errors.As(err, &syntax):
		row = errorRow{http.StatusBadRequest, codeBadRequest, "DeserializationFailure"}
		message = "The request body cannot be decoded: " + syntax.Error()
	case errors.Is(err, representation.ErrUnsupportedMediaType):
		row = errorRow{http.StatusUnsupportedMediaType, codeUnsupportedMediaType, "UnsupportedMediaType"}
		message = "The Content-Type of the request is not supported; application/json, application/xml, " +
			"application/vnd.microsoft.com.ucwa+json and application/vnd.microsoft.com.ucwa+xml are."
	case errors.As(err, &http4) && http4.Code == http.StatusMethodNotAllowed:
		row = errorRow{http.StatusMethodNotAllowed, codeMethodNotAllowed, ""}
		message = "The resource does not support this method; see the Allow header."
	case errors.As(err, &http4) && http4.Code == http.StatusNotFound:
		row = errorRow{http.StatusNotFound, codeNotFound, ""}
		message = "There is no such resource."
	}
	return row, &representation.Reason{Code: row.code, Subcode: row.subcode, Message: message}, 0
}

func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
