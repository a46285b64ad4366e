package conform_test

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/conform"
)

// junk is what servers and what stands between answer on bad days.
var junk = []mutation{
	pretend(200, ""),
	pretend(200, "{}"),
	pretend(200, "[]"),
	pretend(200, "null"),
	pretend(200, `{"_links":null,"_embedded":[],"rel":7}`),
	pretend(200, `{"_links":{"self":{"href":"/x"},"next":[],"events":{"href":"%zz"}},"_embedded":{"me":{},"people":{},"communication":[{}]},"sender":[{}]}`),
	pretend(200, `<resource/>`),
	pretend(201, `<?xml version="1.0" encoding="utf-8"?><resource><resource/><link/><property/></resource>`),
	pretend(500, "<html>"),
	pretend(404, `{"code":null}`),
	pretend(401, ""),
	set("Content-Type", ""),
	set("Content-Type", "multipart/batching; boundary="),
	swap("href", "ref"),
	swap("contoso.test", ""),
}

// TestAWalkSurvivesAnyAnswer answers one request in so many with junk, each time
// others.
func TestAWalkSurvivesAnyAnswer(t *testing.T) {
	t.Parallel()
	for seed := range 30 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			bad := func(r *http.Request, res *reply) {
				h := fnv.New32a()
				fmt.Fprint(h, seed, r.Method, r.URL.Path)
				sum := h.Sum32()
				if every := uint32(3 + seed%9*4); sum%every == 0 {
					junk[int(sum/every)%len(junk)](r, res)
				}
			}
			report, _ := walkModel(t, conform.Options{Publish: true, Patience: 200 * time.Millisecond}, bad)
			require.NotNil(t, report)
		})
	}
}
