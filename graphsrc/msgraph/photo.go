package msgraph

import (
	"bytes"
	"context"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
)

const (
	// maxPhoto bounds a photo; the largest size takes about 100 kB as JPEG.
	maxPhoto = 1 << 20
	// maxETag bounds what is kept of an entity tag.
	maxETag = 256
)

// Photo implements graphsrc.PhotoReader. A size that is none of
// graphsrc.PhotoSizes, and a tag that cannot have come from here, are
// KindInvalid and are not sent. An answer that is not a picture, or is larger
// than 1 MiB, is KindMalformed.
func (c *Client) Photo(ctx context.Context, id string, size int, etag string) (graphsrc.Photo, error) {
	const op = "get photo"
	if err := checkID(op, id); err != nil {
		return graphsrc.Photo{}, err
	}
	if !slices.Contains(graphsrc.PhotoSizes, size) {
		return graphsrc.Photo{}, invalid(op, "Graph has no photos of this size")
	}
	if etag != "" && bareETag(`"`+etag+`"`) != etag {
		return graphsrc.Photo{}, invalid(op, "not an entity tag")
	}
	edge := strconv.Itoa(size)
	var got graphsrc.Photo
	err := c.exchange(ctx, op, func(resp *http.Response) (err error) {
		got, err = c.readPhoto(op, resp, etag != "")
		return err
	}, func(ctx context.Context, opts options) error {
		cfg := &users.ItemPhotosItemValueContentRequestBuilderGetRequestConfiguration{
			Options: opts, Headers: abstractions.NewRequestHeaders(),
		}
		if etag != "" {
			// Compared weakly, so a weak tag is found without its W/ (RFC 9110, 13.1.2).
			cfg.Headers.Add("If-None-Match", `"`+etag+`"`)
		}
		_, err := c.user(id).Photos().ByProfilePhotoId(edge+"x"+edge).Content().Get(ctx, cfg)
		return err
	})
	if err != nil {
		return graphsrc.Photo{}, err
	}
	return got, nil
}

// readPhoto reads and closes an answer. Only a conditional request can be
// answered by "not modified".
func (c *Client) readPhoto(op string, resp *http.Response, conditional bool) (graphsrc.Photo, error) {
	if resp.StatusCode == http.StatusNotModified && conditional {
		discard(resp.Body)
		return graphsrc.Photo{NotModified: true}, nil
	}
	photo := graphsrc.Photo{ETag: bareETag(resp.Header.Get("ETag"))}
	err := c.read(op, resp, maxPhoto, func(body []byte) error {
		photo.Type = pictureType(resp.Header.Get("Content-Type"), body)
		if photo.Type == "" || len(body) == 0 {
			return malformed(op, resp, "the answer is not a picture")
		}
		photo.Content = bytes.Clone(body)
		return nil
	})
	return photo, err
}

// pictureType is the media type of a picture without parameters, or empty for
// what is none. A picture that is declared as bytes, or not at all, is
// recognised by its content. SVG is refused: it may carry scripts, and the
// gateway shows photos under its own name.
func pictureType(declared string, content []byte) string {
	media, _, err := mime.ParseMediaType(declared)
	if err != nil || media == "application/octet-stream" {
		media = ""
	}
	if media == "" {
		media = http.DetectContentType(content)
	}
	if !strings.HasPrefix(media, "image/") || strings.HasPrefix(media, "image/svg") {
		return ""
	}
	return media
}

// bareETag takes the quotes and the mark of weakness off an entity tag. What is
// no entity tag (RFC 9110, 8.8.3) is no tag at all.
func bareETag(header string) string {
	tag := strings.TrimPrefix(strings.TrimSpace(header), "W/")
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' || len(tag) > maxETag {
		return ""
	}
	tag = tag[1 : len(tag)-1]
	odd := func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f }
	if strings.ContainsFunc(tag, odd) {
		return ""
	}
	return tag
}
