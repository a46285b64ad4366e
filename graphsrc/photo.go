package graphsrc

import (
	"context"
	"strconv"

	"ucwagate/graphsrc/budget"
)

const (
	// maxPhotoRequests is how many photos may be asked for at once.
	//
	// Source: https://learn.microsoft.com/en-us/graph/throttling-limits (Outlook
	// service limits: 4 concurrent requests per application and mailbox, which
	// has been the limit of the application as a whole).
	maxPhotoRequests = 4
	// photoOverhead is what an entry costs beside the content, in bytes. It
	// also bounds how often "no photo" can be remembered.
	photoOverhead = 512
)

func newPhotos(o *Options, life *lifetime, g *grant) (*memo[Photo], error) {
	return newMemo(&memo[Photo]{
		op: "get photo", life: life, clk: o.Clock, timeout: o.Timeout,
		ttl: o.PhotoTTL, negative: o.PhotoNegativeTTL, forbidden: hideFor,
		grant: g, turns: maxPhotoRequests,
	}, o.PhotoCacheBytes, func(p Photo) int { return photoOverhead + len(p.Content) })
}

// Photo returns a user's photo in the size of PhotoSizes that is nearest to px
// pixels from below, or the smallest one. id is an object id. No photo, in this
// size, is KindNotFound. While Graph fails, a photo read before is returned
// whatever its age. Where the permission is missing the error is
// KindForbidden, for some time without asking (ErrHidden). Errors are *Error.
//
// A caller waits at most for Options.Timeout, the turn among other photos
// included; a photo whose turn has not come when nobody waits for it any more
// is not asked for.
func (s *Source) Photo(ctx context.Context, id string, px int) (Photo, error) {
	k, ok := parseKey(id)
	if !ok {
		return Photo{}, invalidID(s.photos.op, id)
	}
	id = k.String()
	size := photoSize(px)
	key := id + "/" + strconv.Itoa(size)
	// Below everybody's question for presence.
	ctx, cancel := context.WithTimeout(budget.WithLane(ctx, budget.FirstLook), s.timeout)
	defer cancel()
	return s.photos.get(ctx, key, func(ctx context.Context) (Photo, error) {
		last := s.photos.last(key)
		p, err := s.graph.Photo(ctx, id, size, last.ETag)
		switch {
		case err != nil:
			return Photo{}, err
		case p.NotModified && last.ETag != "":
			return last, nil
		case p.NotModified:
			return Photo{}, &Error{Op: s.photos.op, Kind: KindMalformed, Message: "not modified, but nothing was compared"}
		case len(p.Content) == 0:
			return Photo{}, &Error{Op: s.photos.op, Kind: KindNotFound, Message: "the photo is empty"}
		}
		return p, nil
	})
}

// photoSize is the size served to who asks for px pixels.
func photoSize(px int) int {
	size := PhotoSizes[0]
	for _, one := range PhotoSizes {
		if one <= px {
			size = one
		}
	}
	return size
}
