package graphsrc

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
)

func TestThePhotoServedIsTheNextSmallerSize(t *testing.T) {
	for _, c := range []struct{ px, size int }{
		{-1, 48}, {0, 48}, {47, 48}, {48, 48}, {63, 48}, {64, 64}, {95, 64}, {100, 96}, {239, 120}, {300, 240}, {647, 504}, {648, 648}, {1 << 40, 648},
	} {
		require.Equal(t, c.size, photoSize(c.px), c.px)
	}
}

func TestAPhotoIsReadOnceAndComparedWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		get := func(px int) string {
			p, err := s.Photo(t.Context(), id(1), px)
			require.NoError(t, err)
			require.False(t, p.NotModified)
			require.Equal(t, "image/jpeg", p.Type)
			return p.ETag + " " + string(p.Content)
		}
		want := "v1 v1 " + id(1) + "/48"
		require.Equal(t, want, get(48))
		require.Equal(t, want, get(50))
		require.Equal(t, "v1 v1 "+id(1)+"/96", get(96))
		require.Equal(t, []string{id(1) + "/48 ", id(1) + "/96 "}, g.photos.requests())

		wait(time.Hour)
		require.Equal(t, want, get(48))
		require.Equal(t, want, get(48))
		require.Equal(t, id(1)+"/48 v1", g.photos.requests()[2])
		require.Len(t, g.photos.requests(), 3, "what has not changed is good for another hour")

		g.photos.change(func() { g.photos.version = "v2" })
		wait(time.Hour)
		require.Equal(t, "v2 v2 "+id(1)+"/48", get(48))
		require.Len(t, g.photos.requests(), 4)
		for _, lane := range g.photos.lanes {
			require.Equal(t, budget.FirstLook, lane)
		}

		_, err := s.Photo(t.Context(), "ana@contoso.com", 48)
		require.Equal(t, KindInvalid, errKind(err))
	})
}

func TestThatThereIsNoPhotoIsRememberedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.refuse = &Error{Op: "get photo", Kind: KindNotFound, Status: 404, Code: "ImageNotFound"}
		s := start(t, g, &fakeBudget{}, nil)
		ask := func(px int) {
			_, err := s.Photo(t.Context(), id(1), px)
			require.Equal(t, KindNotFound, errKind(err))
		}
		ask(48)
		wait(4*time.Hour - time.Second)
		ask(48)
		require.Len(t, g.photos.requests(), 1)
		ask(648)
		require.Len(t, g.photos.requests(), 2, "another size may be there")
		wait(time.Second)
		ask(48)
		require.Len(t, g.photos.requests(), 3)
		require.Empty(t, s.Missing())
	})
}

func TestAPhotoOnceReadIsServedWhileGraphFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		s := start(t, g, &fakeBudget{}, nil)
		_, err := s.Photo(t.Context(), id(1), 48)
		require.NoError(t, err)
		g.photos.change(func() { g.photos.refuse = &Error{Kind: KindUnavailable, Status: 503} })
		wait(5 * time.Hour)
		for range 3 {
			p, err := s.Photo(t.Context(), id(1), 48)
			require.NoError(t, err)
			require.Equal(t, "v1", p.ETag)
			_, err = s.Photo(t.Context(), id(2), 48)
			require.Equal(t, KindUnavailable, errKind(err))
		}
		require.Len(t, g.photos.requests(), 3)
		g.photos.change(func() { g.photos.refuse = notFound("photo") })
		wait(time.Second)
		_, err = s.Photo(t.Context(), id(1), 48)
		require.Equal(t, KindNotFound, errKind(err), "it has been removed")
	})
}

func TestAMissingPhotoPermissionHidesPhotos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.refuse = &Error{Kind: KindForbidden, Status: 403}
		s := start(t, g, &fakeBudget{}, nil)
		for n := range 5 {
			_, err := s.Photo(t.Context(), id(n), 48)
			require.Equal(t, KindForbidden, errKind(err))
			if n > 0 {
				require.ErrorIs(t, err, ErrHidden)
			}
		}
		require.Len(t, g.photos.requests(), 1)
		require.Equal(t, []string{"ProfilePhoto.Read.All"}, s.Missing())
		g.photos.change(func() { g.photos.refuse = nil })
		wait(hideFor)
		_, err := s.Photo(t.Context(), id(0), 48)
		require.NoError(t, err, "the first one, too, is not refused for longer")
		require.Empty(t, s.Missing())
	})
}

func TestFourPhotosAreAskedForAtOnceAndEachOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.shutter = time.Second
		s := start(t, g, &fakeBudget{}, nil)
		began := time.Now()
		var wg sync.WaitGroup
		for n := range 20 {
			for range 3 {
				wg.Go(func() {
					p, err := s.Photo(context.Background(), id(n), 48)
					require.NoError(t, err)
					require.Contains(t, string(p.Content), id(n))
				})
			}
		}
		wg.Wait()
		require.Len(t, g.photos.requests(), 20)
		require.Equal(t, 4, g.photos.most)
		require.Equal(t, 5*time.Second, time.Since(began))
		require.Empty(t, s.photos.flights)
	})
}

func TestAPhotoNobodyWaitsForAnyMoreIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.shutter = 2 * time.Second
		s := start(t, g, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		ask := func(n int, patience time.Duration, want Kind) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_, err := s.Photo(ctx, id(n), 48)
				require.Equal(t, want, errKind(err), n)
			})
		}
		for n := range 4 {
			ask(n, time.Second, KindTimeout) // asked: the answers are kept
		}
		synctest.Wait()
		for n := 10; n < 20; n++ {
			ask(n, time.Second, KindTimeout)
		}
		ask(15, time.Minute, 0) // one of two stays
		wait(1500 * time.Millisecond)
		ask(12, time.Minute, 0) // one comes back
		wg.Wait()
		require.Len(t, g.photos.requests(), 6)
		require.ElementsMatch(t, []string{id(12) + "/48 ", id(15) + "/48 "}, g.photos.requests()[4:])
		ask(0, time.Second, 0)
		wg.Wait()
		require.Len(t, g.photos.requests(), 6)
		require.Equal(t, s.photos.turns, s.photos.free)
	})
}

func TestWhoWaitsForATurnWaitsNotLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGraph{}
		g.photos.shutter = time.Hour
		s := start(t, g, &fakeBudget{}, nil)
		var wg sync.WaitGroup
		began := time.Now()
		for n := range 6 {
			wg.Go(func() {
				_, err := s.Photo(context.Background(), id(n), 48)
				require.Equal(t, KindTimeout, errKind(err))
			})
		}
		wg.Wait()
		require.Equal(t, 10*time.Second, time.Since(began))

		wait(time.Minute)
		for n := range 6 {
			wg.Go(func() {
				_, err := s.Photo(context.Background(), id(10+n), 48)
				require.Error(t, err)
			})
		}
		wait(time.Second)
		closing := time.Now()
		s.Close()
		wg.Wait()
		require.Equal(t, closing, time.Now())
	})
}

func TestPhotosAreBoundedInBytesAndAbsencesInNumber(t *testing.T) {
	g := &fakeGraph{}
	g.photos.size = 10_000
	s := start(t, g, &fakeBudget{}, func(o *Options) { o.PhotoCacheBytes = 200_000 })
	full := func() uint64 {
		s.photos.entries.CleanUp()
		return s.photos.entries.WeightedSize()
	}
	for n := range 200 {
		_, err := s.Photo(t.Context(), id(n), 48)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, full(), uint64(200_000))
	require.Greater(t, full(), uint64(50_000))
	g.photos.change(func() { g.photos.size = 1_000_000 })
	p, err := s.Photo(t.Context(), id(1000), 48)
	require.NoError(t, err, "larger than everything that is remembered")
	require.Len(t, p.Content, 1_000_000)
	g.photos.change(func() { g.photos.refuse = notFound("photo") })
	for n := range 2000 {
		_, err := s.Photo(t.Context(), id(2000+n), 48)
		require.Equal(t, KindNotFound, errKind(err))
	}
	require.LessOrEqual(t, full(), uint64(200_000))
	require.LessOrEqual(t, s.photos.entries.EstimatedSize(), 200_000/photoOverhead)
}

func TestAnAnswerThatIsNoPhotoIsNotTakenForOne(t *testing.T) {
	for _, c := range []struct {
		name string
		says Photo
		kind Kind
	}{
		{"not modified, although nothing was compared", Photo{NotModified: true}, KindMalformed},
		{"nothing in it", Photo{Type: "image/jpeg", ETag: "x"}, KindNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, &oddPhotos{says: c.says}, &fakeBudget{}, nil)
			_, err := s.Photo(t.Context(), id(1), 48)
			require.Equal(t, c.kind, errKind(err))
		})
	}
}

type oddPhotos struct {
	fakeGraph
	says Photo
}

func (g *oddPhotos) Photo(context.Context, string, int, string) (Photo, error) { return g.says, nil }

// BenchmarkPhoto serves a photo that is remembered.
func BenchmarkPhoto(b *testing.B) {
	s := start(b, &fakeGraph{}, &fakeBudget{}, nil)
	for n := range 100 {
		_, err := s.Photo(b.Context(), id(n), 96)
		require.NoError(b, err, fmt.Sprint(n))
	}
	who := id(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Photo(b.Context(), who, 96); err != nil {
			b.Fatal(err)
		}
	}
}
