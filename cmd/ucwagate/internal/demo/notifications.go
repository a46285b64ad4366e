package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc/msgraph"
	"ucwagate/graphsrc/msgraph/delegated"
)

// DeliverTo has Graph deliver to h instead of to the demonstration's own gateway:
// to another replica of it, as a load balancer would.
func (d *Demo) DeliverTo(h http.Handler) { d.handler.Store(&h) }

// notified switches change notifications on: it signs a helper account in, as a
// person does with ucwagate helper sign-in, and puts HTTPS before the gateway,
// which Graph insists on.
func (d *Demo) notified(ctx context.Context, t *config.Tenant, helpers int, log *slog.Logger) error {
	root, err := d.simulator.Front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := d.handler.Load()
		if handler == nil {
			http.Error(w, "not started yet", http.StatusServiceUnavailable)
			return
		}
		(*handler).ServeHTTP(w, r)
	}))
	if err != nil {
		return err
	}
	t.Notifications.URL = root + config.HookPath(t.Name)
	roots, err := t.RootCAs()
	if err != nil {
		return err
	}
	for i := range helpers {
		file := filepath.Join(d.dir, fmt.Sprintf("helper-%d.json", i+1))
		account, err := delegated.New(delegated.Options{
			Graph: msgraph.Config{
				TenantID: t.TenantID, ClientID: t.HelperClientID(), Cloud: string(t.Cloud),
				GraphURL: t.GraphURL, Authority: t.Authority, RootCAs: roots,
			},
			File: file, Logger: log,
		})
		if err != nil {
			return fmt.Errorf("setting up a helper account: %w", err)
		}
		who := d.Tenant.User(d.Tenant.Len() - 1 - i)
		var approved error
		_, err = account.SignIn(ctx, func(_, _, code string, _ time.Time) { approved = d.Tenant.ApproveDevice(code, who.ID) })
		account.Close()
		if err != nil || approved != nil {
			return fmt.Errorf("signing a helper account in: %w", errors.Join(approved, err))
		}
		t.Notifications.Helpers = append(t.Notifications.Helpers, file)
	}
	return nil
}
