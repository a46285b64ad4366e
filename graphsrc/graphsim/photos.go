package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/people"
)

// photoSize is the size a path asks for, or the uploaded one where it asks
// for none; ok is false where the user has no such photo.
func (t *Tenant) photoSize(c *call, index int) (size int, ok bool) {
	upload, ok := t.dir.PhotoUpload(index)
	if len(c.args) < 2 || !ok {
		return upload, ok
	}
	width, height, _ := strings.Cut(strings.ToLower(c.args[1]), "x")
	size, err := strconv.Atoi(width)
	if err != nil || width != height || !slices.Contains(people.PhotoSizes, size) {
		return 0, false
	}
	return size, size <= upload
}

// getPhoto serves the picture itself.
func (t *Tenant) getPhoto(c *call) (reply, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	size, ok := t.photoSize(c, index)
	if !ok {
		return reply{}, photoNotFound()
	}
	etag := `"` + t.dir.PhotoETag(index, size) + `"`
	header := map[string]string{"ETag": etag, "Cache-Control": "private"}
	for candidate := range strings.SplitSeq(c.r.Header.Get("If-None-Match"), ",") {
		if candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/"); candidate == etag || candidate == "*" {
			return reply{status: http.StatusNotModified, header: header}, nil
		}
	}
	picture, err := t.dir.Photo(index, size)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, contentType: "image/jpeg", header: header, body: picture}, nil
}

// getPhotoInfo serves a photo's metadata. Of users without a photo Graph
// tells of a transparent pixel.
func (t *Tenant) getPhotoInfo(c *call) (reply, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	size, ok := t.photoSize(c, index)
	if !ok && len(c.args) > 1 {
		return reply{}, photoNotFound()
	}
	head := object{{"@odata.context", c.base + "/$metadata#users('" + c.args[0] + "')/photo/$entity"}}
	if !ok {
		return jsonReply(append(head, object{
			{"@odata.mediaContentType", "image/gif"},
			{"@odata.mediaEtag", ""},
			{"id", "1x1"},
			{"height", 1},
			{"width", 1},
		}...).append(nil)), nil
	}
	return jsonReply(append(head, t.photoObject(index, size)...).append(nil)), nil
}

func (t *Tenant) photoObject(index, size int) object {
	return object{
		{"@odata.mediaContentType", "image/jpeg"},
		{"@odata.mediaEtag", `"` + t.dir.PhotoETag(index, size) + `"`},
		{"id", strconv.Itoa(size) + "x" + strconv.Itoa(size)},
		{"height", size},
		{"width", size},
	}
}

// listPhotos serves GET /users/{id}/photos: the sizes there are.
func (t *Tenant) listPhotos(c *call) (reply, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	var all []object
	if upload, ok := t.dir.PhotoUpload(index); ok {
		for _, size := range people.PhotoSizes {
			if size <= upload {
				all = append(all, t.photoObject(index, size))
			}
		}
	}
	return c.list("users('"+c.args[0]+"')/photos", defaultPage, false, slice(all))
}

// photoNotFound is what Exchange says of users without a picture.
func photoNotFound() error {
	return &graphError{
		status: http.StatusNotFound, code: "ImageNotFound",
		message: "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown.",
	}
}
