package notify

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func newRing(t testing.TB, cfg KeyringConfig) *Keyring {
	t.Helper()
	k, err := NewKeyring(cfg)
	require.NoError(t, err)
	return k
}

func TestTheCertificateIsOneThatGraphTakes(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	der, id := k.Current()
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.NoError(t, certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature))
	require.Equal(t, 2048, certificate.PublicKey.(*rsa.PublicKey).N.BitLen())
	require.True(t, certificate.NotBefore.Before(time.Now()))
	require.True(t, certificate.NotAfter.After(time.Now().Add(DefaultRotation+keyGrace)))
	require.NotEmpty(t, id)
	require.LessOrEqual(t, len(id), 128)
	sameDER, sameID := k.Current()
	require.Equal(t, der, sameDER)
	require.Equal(t, id, sameID)
	_, otherID := newRing(t, KeyringConfig{}).Current()
	require.NotEqual(t, id, otherID)
}

func TestARotationBeforeTimeBeganIsRefused(t *testing.T) {
	_, err := NewKeyring(KeyringConfig{Rotation: -time.Second})
	require.Error(t, err)
}

func TestKeysRotateAndOldOnesStayForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newRing(t, KeyringConfig{Rotation: 24 * time.Hour})
		oldDER, oldID := k.Current()
		old := newSealing().seal(t, oldDER, oldID, presenceJSON(anaID, "Away", "Away"))

		<-time.After(24*time.Hour - time.Second)
		_, id := k.Current()
		require.Equal(t, oldID, id, "not yet due")
		<-time.After(time.Second)
		_, id = k.Current()
		require.NotEqual(t, oldID, id)
		_, again := k.Current()
		require.Equal(t, id, again)

		<-time.After(keyGrace - 2*time.Second)
		_, err := k.Open(old)
		require.NoError(t, err, "an item from before the rotation opens")
		<-time.After(keyGrace - time.Second)
		_, err = k.Open(old)
		require.NoError(t, err, "a renewed subscription keeps its certificate, and so its key")
		<-time.After(keyGrace)
		_, err = k.Open(old)
		require.ErrorIs(t, err, errKeyUnknown, "unused, it is gone")
		_, err = k.Open(seal(t, k, presenceJSON(anaID, "Away", "Away")))
		require.NoError(t, err)
	})
}

func TestAForgedItemDoesNotKeepAKeyAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newRing(t, KeyringConfig{Rotation: time.Hour})
		_, oldID := k.Current()
		<-time.After(time.Hour)
		k.Current()
		<-time.After(keyGrace - time.Second)
		_, err := k.Open(EncryptedContent{CertificateID: oldID, Data: "AAAA", DataKey: "AAAA", DataSignature: "AAAA"})
		require.ErrorIs(t, err, errAltered)
		<-time.After(time.Second)
		_, err = k.Open(EncryptedContent{CertificateID: oldID})
		require.ErrorIs(t, err, errKeyUnknown)
	})
}

func TestAnOldKeyCanBeRetiredButNotTheCurrentOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newRing(t, KeyringConfig{Rotation: time.Hour})
		old := seal(t, k, presenceJSON(anaID, "Away", "Away"))
		k.Retire(old.CertificateID)
		_, err := k.Open(old)
		require.NoError(t, err, "it is the current one")
		<-time.After(time.Hour)
		k.Current()
		_, err = k.Open(old)
		require.NoError(t, err)
		k.Retire("another")
		k.Retire(old.CertificateID)
		_, err = k.Open(old)
		require.ErrorIs(t, err, errKeyUnknown)
	})
}

func TestManyCallersGetOneNewKey(t *testing.T) {
	clk := newShiftedClock()
	k := newRing(t, KeyringConfig{Clock: clk})
	item := seal(t, k, presenceJSON(anaID, "Away", "Away"))
	clk.advance(DefaultRotation)
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() { _, ids[i] = k.Current() })
		wg.Go(func() {
			if _, err := k.Open(item); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.NotEqual(t, item.CertificateID, ids[0])
	require.Len(t, k.keys, 2)
}

func TestContentOpensWhileAKeyIsMade(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	item := seal(t, k, presenceJSON(anaID, "Away", "Away"))
	k.making.Lock() // as the maker does
	defer k.making.Unlock()
	_, err := k.Open(item)
	require.NoError(t, err)
	k.Current()
}

func TestPrivateKeysAreNotPrinted(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", struct{ K *Keyring }{k})
	}
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("keys", "ring", k)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("keys", "ring", k)
	fmt.Fprintln(&out, k.GoString())
	require.Contains(t, out.String(), "keyring of 1, private keys withheld")
	private := k.keys[0].private
	for _, number := range []fmt.Stringer{private.D, private.Primes[0], private.Primes[1]} {
		require.NotContains(t, out.String(), number.String()[:20])
	}
	require.NotContains(t, out.String(), fmt.Sprintf("%x", private.D)[:20])
}
