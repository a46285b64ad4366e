package batch

import (
	"errors"
	"strconv"
)

// What can be wrong with the Content-Type of a batch.
var (
	// ErrNotBatch says that the media type is not multipart/batching.
	ErrNotBatch = errors.New("the content type is not multipart/batching")
	// ErrNoBoundary says that the content type names no boundary.
	ErrNoBoundary = errors.New("the content type has no boundary")
	// ErrBadBoundary says that the boundary is longer than 200 bytes or has
	// control characters.
	ErrBadBoundary = errors.New("the boundary is too long or has control characters")
)

// What ends the reading of a batch beside a *SyntaxError.
var (
	// ErrTooManyParts says that there are more parts than Limits.Parts.
	ErrTooManyParts = errors.New("the batch has too many parts")
	// ErrPartTooLarge says that a part is larger than Limits.PartBytes.
	ErrPartTooLarge = errors.New("a part of the batch is too large")
)

// What the Writer refuses.
var (
	// ErrClosed says that a part was added after Close.
	ErrClosed = errors.New("the batch answer is closed")
	// ErrStatus says that a status is not that of a final response (200–999).
	ErrStatus = errors.New("the status is not one of a final response")
	// ErrEncoded says that a body is compressed. The parts of an answer stand
	// there as they are; the answer as a whole may be compressed.
	ErrEncoded = errors.New("the body of a part is encoded")
	// ErrBoundaryInPart says that a response contains the boundary, so that it
	// could not be told from the parts after it.
	ErrBoundaryInPart = errors.New("the response contains the boundary")
)

// SyntaxError says that a body as a whole is not a batch. Answer 400.
type SyntaxError struct {
	// Reason is a fixed text; it repeats nothing of what was sent.
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string { return "malformed batch: " + e.Reason }

// PartError says that one part cannot be understood. The parts after it can be
// read; answer 400 in the place of this one.
type PartError struct {
	// Part is the position of the part, from 1. Empty parts are not counted.
	Part int
	// Reason is a fixed text; it repeats nothing of what was sent.
	Reason string
}

// Error implements error.
func (e *PartError) Error() string {
	return "malformed part " + strconv.Itoa(e.Part) + " of a batch: " + e.Reason
}
