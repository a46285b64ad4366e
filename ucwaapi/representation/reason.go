package representation

import "slices"

// Reason is the error body of UCWA: a bare object in JSON, a reason element
// with plain child elements in XML.
type Reason struct {
	// Code is a member of the ErrorCode enumeration.
	Code string
	// Subcode is a member of the ErrorSubcode enumeration, or empty.
	Subcode string
	// Message is for people; it names the field and what is allowed.
	Message string
	// Parameters names every invalid parameter; only with BadRequest.
	Parameters []Parameter
	// Debug carries what an operator needs to find the request in the log.
	Debug []Parameter
}

// Parameter is a named remark of an error body.
type Parameter struct{ Name, Reason string }

// AppendReasonJSON appends the JSON form of an error.
func AppendReasonJSON(dst []byte, e *Reason) []byte {
	dst = append(dst, `{"code":`...)
	dst = AppendJSONString(dst, e.Code)
	if e.Subcode != "" {
		dst = append(dst, `,"subcode":`...)
		dst = AppendJSONString(dst, e.Subcode)
	}
	if e.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = AppendJSONString(dst, e.Message)
	}
	if len(e.Parameters) > 0 {
		dst = append(dst, `,"parameters":[`...)
		for i, p := range e.Parameters {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"name":`...)
			dst = AppendJSONString(dst, p.Name)
			dst = append(dst, `,"reason":`...)
			dst = AppendJSONString(dst, p.Reason)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if len(e.Debug) > 0 {
		dst = append(dst, `,"debugInfo":{`...)
		for i, p := range e.Debug {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONString(dst, p.Name)
			dst = append(dst, ':')
			dst = AppendJSONString(dst, p.Reason)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// AppendReasonXML appends the XML form of an error as a document.
func AppendReasonXML(dst []byte, e *Reason) []byte {
	dst = slices.Grow(dst, 256)
	dst = append(dst, XMLProlog...)
	dst = append(dst, `<reason xmlns="`+Namespace+`">`...)
	dst = appendReasonElements(dst, e)
	return append(dst, `</reason>`...)
}

func appendReasonElements(dst []byte, e *Reason) []byte {
	dst = appendXMLElement(dst, "code", e.Code)
	if e.Subcode != "" {
		dst = appendXMLElement(dst, "subcode", e.Subcode)
	}
	if e.Message != "" {
		dst = appendXMLElement(dst, "message", e.Message)
	}
	dst = appendNamed(dst, "debugInfo", "property", e.Debug)
	return appendNamed(dst, "parameters", "parameter", e.Parameters)
}

func appendNamed(dst []byte, outer, inner string, list []Parameter) []byte {
	if len(list) == 0 {
		return appendXMLElement(dst, outer, "")
	}
	dst = append(dst, '<')
	dst = append(dst, outer...)
	dst = append(dst, '>')
	for _, p := range list {
		dst = append(dst, '<')
		dst = append(dst, inner...)
		dst = AppendXMLAttribute(dst, "name", p.Name)
		dst = append(dst, '>')
		dst = appendXMLText(dst, p.Reason)
		dst = append(dst, `</`...)
		dst = append(dst, inner...)
		dst = append(dst, '>')
	}
	dst = append(dst, `</`...)
	dst = append(dst, outer...)
	return append(dst, '>')
}
