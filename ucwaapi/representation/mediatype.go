package representation

import (
	"mime"
	"strconv"
	"strings"
)

// Format is a representation that can be sent.
type Format struct {
	// XML is true for the XML encoding, false for JSON.
	XML bool
	// ContentType is the value of the Content-Type header.
	ContentType string
}

// Discovery returns the format as discovery sends it: without a charset.
func (f Format) Discovery() Format {
	f.ContentType, _, _ = strings.Cut(f.ContentType, ";")
	return f
}

// The formats. A client that asks for a vendor type gets that type back.
var (
	JSON       = Format{ContentType: "application/json; charset=utf-8"}
	XML        = Format{XML: true, ContentType: "application/xml; charset=utf-8"}
	vendorJSON = Format{ContentType: "application/vnd.microsoft.com.ucwa+json; charset=utf-8"}
	vendorXML  = Format{XML: true, ContentType: "application/vnd.microsoft.com.ucwa+xml; charset=utf-8"}
)

// formats maps a media type to what it stands for. The vendor types without
// ".com" appear once in the documentation and are aliases.
var formats = map[string]Format{
	"application/json": JSON,
	"application/xml":  XML,
	"text/xml":         XML,
	"application/vnd.microsoft.com.ucwa+json": vendorJSON,
	"application/vnd.microsoft.com.ucwa+xml":  vendorXML,
	"application/vnd.microsoft.ucwa+json":     vendorJSON,
	"application/vnd.microsoft.ucwa+xml":      vendorXML,
}

// Negotiate chooses the format for the values of the Accept header. What the
// gateway cannot serve, and no Accept at all, gets JSON rather than 406: real
// clients send odd values and none reads an HTML error.
func Negotiate(accept []string) Format {
	if len(accept) == 0 {
		return JSON
	}
	if len(accept) == 1 {
		if f, ok := formats[accept[0]]; ok { // the common case, without parsing
			return f
		}
	}
	best, bestQ := JSON, 0.0
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			f, q, ok := acceptItem(item)
			// Of equals the first one wins.
			if ok && q > bestQ {
				best, bestQ = f, q
			}
		}
	}
	return best
}

func acceptItem(item string) (Format, float64, bool) {
	name, rest, _ := strings.Cut(item, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	f, ok := formats[name]
	if !ok && (name == "*/*" || name == "application/*" || name == "*") {
		f, ok = JSON, true
	}
	if !ok {
		return Format{}, 0, false
	}
	q := 1.0
	for param := range strings.SplitSeq(rest, ";") {
		key, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || n < 0 || n > 1 {
				return Format{}, 0, false
			}
			q = n
		}
	}
	return f, q, q > 0
}

// inputFormat says how a request body of the given Content-Type is decoded. A
// missing type counts as JSON: sample transports send an empty one.
func inputFormat(contentType string) (isXML, ok bool) {
	if strings.TrimSpace(contentType) == "" {
		return false, true
	}
	name, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		// An odd parameter, such as charset='utf-8', does not hide the type.
		name, _, _ = strings.Cut(contentType, ";")
		name = strings.ToLower(strings.TrimSpace(name))
	}
	f, ok := formats[name]
	return f.XML, ok
}
