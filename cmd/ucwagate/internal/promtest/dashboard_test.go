package promtest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type (
	grafanaDashboard struct {
		UID         string `json:"uid"`
		Title       string `json:"title"`
		Panels      []grafanaPanel
		Annotations struct {
			List []struct {
				Name, Expr string
			}
		}
		Templating struct {
			List []struct {
				Name, Type, Definition string
				Query                  json.RawMessage
			}
		}
	}
	grafanaPanel struct {
		ID          int
		Type        string
		Title       string
		Datasource  struct{ UID string }
		GridPos     struct{ X, Y, W, H int }
		FieldConfig struct {
			Defaults struct{ Unit string }
		}
		Targets []struct {
			Expr, RefID string
			Datasource  struct{ UID string }
		}
	}
)

func dashboard(t testing.TB) *grafanaDashboard {
	t.Helper()
	text, err := os.ReadFile("../../../../configs/grafana/ucwagate.json")
	require.NoError(t, err)
	var d grafanaDashboard
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return &d
}

// units are those of Grafana that the dashboard uses.
var units = strings.Fields("none short s bytes percentunit reqps cps opm")

func TestTheDashboardIsWhole(t *testing.T) {
	d := dashboard(t)
	require.Equal(t, "ucwagate", d.UID)
	ids, used := map[int]string{}, map[[2]int]string{}
	row := ""
	for _, p := range d.Panels {
		require.NotEmpty(t, p.Title)
		require.Empty(t, ids[p.ID], p.Title)
		ids[p.ID] = p.Title
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, used[[2]int{x, y}], "%s lies over another", p.Title)
				used[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			row = p.Title
			continue
		}
		require.NotEmpty(t, row, "%s is in a row", p.Title)
		require.Contains(t, units, p.FieldConfig.Defaults.Unit, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		letters := map[string]bool{}
		for _, target := range p.Targets {
			require.False(t, letters[target.RefID], p.Title)
			letters[target.RefID] = true
			require.Equal(t, "${datasource}", target.Datasource.UID)
			// Whoever chooses a replica or a tenant sees nothing else.
			for _, s := range read(target.Expr).selectors {
				require.Contains(t, s.labels, "job", target.Expr)
				require.Contains(t, s.labels, "instance", target.Expr)
				for _, label := range familyOf(s.name).Labels {
					if label == "tenant" {
						require.Contains(t, s.labels, label, target.Expr)
					}
				}
			}
		}
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	require.Equal(t, []string{"datasource", "job", "instance", "tenant"}, variables)
}
