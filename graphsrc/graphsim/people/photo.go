package people

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
)

// PhotoSizes are the edge lengths in pixels in which Graph offers photos.
var PhotoSizes = []int{48, 64, 96, 120, 240, 360, 432, 504, 648}

// PhotoUpload is the edge length of the picture a user uploaded, from which
// the smaller ones are made; ok is false for the users without a photo.
func (d *Directory) PhotoUpload(index int) (size int, ok bool) {
	switch {
	case index%5 == 4 || d.Person(index).Guest():
		return 0, false
	case index%7 == 3:
		return 240, true
	}
	return 648, true
}

// PhotoETag identifies a user's picture in one size, without quotes.
func (d *Directory) PhotoETag(index, size int) string {
	return fmt.Sprintf("%016X", d.hash(fmt.Sprintf("photo %d", size), index))
}

// Photo draws a user's picture as a JPEG: a symmetric pattern in two colours
// of the user's own.
func (d *Directory) Photo(index, size int) ([]byte, error) {
	h := d.hash("picture", index)
	back := color.RGBA{R: 200 + uint8(h%56), G: 200 + uint8(h>>8%56), B: 200 + uint8(h>>16%56), A: 255}
	front := color.RGBA{R: uint8(h >> 24 % 160), G: uint8(h >> 32 % 160), B: uint8(h >> 40 % 160), A: 255}
	cells := mix(h)
	const grid = 6
	picture := image.NewRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			column := x * grid / size
			column = min(column, grid-1-column)
			shade := back
			if cells>>(y*grid/size*grid/2+column)&1 == 1 {
				shade = front
			}
			picture.SetRGBA(x, y, shade)
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: 80}); err != nil {
		return nil, fmt.Errorf("drawing a photo: %w", err)
	}
	return out.Bytes(), nil
}
