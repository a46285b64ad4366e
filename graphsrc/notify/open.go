package notify

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	// maxContent bounds the encrypted data of an item, in bytes of base64. A
	// presence takes a few hundred.
	maxContent = 64 << 10
	// maxDataKey bounds the encrypted key, in bytes of base64: that of the
	// largest RSA key allowed takes 684.
	maxDataKey = 1 << 10
	// maxWord bounds availability, activity and sequence number, in bytes.
	maxWord = 128

	dataKeySize = 32 // bytes: AES-256
)

var (
	// ErrUndecryptable is wrapped by every error of Open. It does not tell
	// which step failed, except that the key is unknown.
	ErrUndecryptable = errors.New("the content cannot be decrypted")

	errKeyUnknown = fmt.Errorf("%w: its key is not kept here", ErrUndecryptable)
	errAltered    = fmt.Errorf("%w: it is damaged or was made for another key", ErrUndecryptable)
	errNoPresence = fmt.Errorf("%w: it has no presence", ErrUndecryptable)
)

// EncryptedContent is the resource data in a notification; the byte strings are
// in base64.
type EncryptedContent struct {
	Data          string `json:"data"`
	DataSignature string `json:"dataSignature"`
	DataKey       string `json:"dataKey"`
	CertificateID string `json:"encryptionCertificateId"`
}

// Presence is the resource data of a notification.
type Presence struct {
	ID                     string // object id, lower case; empty if the data has none
	Availability, Activity string // as Graph spells them; may be empty
	Sequence               string // sequenceNumber, usually empty
}

// Open decrypts resource data: the data key by RSA-OAEP with SHA-1, the data by
// AES-256 in CBC mode with PKCS#7 padding and the first 16 bytes of the key as
// the initialization vector, after HMAC-SHA256 under the same key has shown that
// the data is what was signed. Errors wrap ErrUndecryptable.
//
// Source: https://learn.microsoft.com/en-us/graph/change-notifications-with-resource-data
func (k *Keyring) Open(c EncryptedContent) (Presence, error) {
	key := k.find(c.CertificateID)
	if key == nil {
		return Presence{}, errKeyUnknown
	}
	if len(c.Data) > maxContent || len(c.DataKey) > maxDataKey {
		return Presence{}, errAltered
	}
	plain, ok := decrypt(key.private, c)
	if !ok {
		return Presence{}, errAltered
	}
	k.used(key)
	return readPresence(plain)
}

// decrypt returns the data; ok is false whatever the reason.
func decrypt(private *rsa.PrivateKey, c EncryptedContent) (plain []byte, ok bool) {
	sealedKey, err1 := base64.StdEncoding.DecodeString(c.DataKey)
	data, err2 := base64.StdEncoding.DecodeString(c.Data)
	signature, err3 := base64.StdEncoding.DecodeString(c.DataSignature)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, false
	}
	dataKey, err := rsa.DecryptOAEP(sha1.New(), nil, private, sealedKey, nil)
	if err != nil || len(dataKey) != dataKeySize {
		return nil, false
	}
	mac := hmac.New(sha256.New, dataKey)
	mac.Write(data)
	if !hmac.Equal(mac.Sum(nil), signature) {
		return nil, false
	}
	block, err := aes.NewCipher(dataKey)
	if err != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, false
	}
	cipher.NewCBCDecrypter(block, dataKey[:aes.BlockSize]).CryptBlocks(data, data)
	return unpad(data)
}

// unpad removes PKCS#7 padding: 1 to 16 bytes, each with their number. Only
// authenticated data comes here, so the time this takes tells nobody anything.
func unpad(data []byte) ([]byte, bool) {
	n := int(data[len(data)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, false
	}
	plain, padding := data[:len(data)-n], data[len(data)-n:]
	return plain, bytes.Count(padding, padding[:1]) == n
}

// readPresence reads the decrypted JSON.
func readPresence(plain []byte) (Presence, error) {
	var doc struct {
		ID           string `json:"id"`
		ODataID      string `json:"@odata.id"`
		Availability string `json:"availability"`
		Activity     string `json:"activity"`
		Sequence     string `json:"sequenceNumber"`
	}
	plain = bytes.TrimPrefix(plain, []byte("\xef\xbb\xbf"))
	if err := json.Unmarshal(plain, &doc); err != nil {
		return Presence{}, errNoPresence // the error of encoding/json may quote the data
	}
	if max(len(doc.Availability), len(doc.Activity), len(doc.Sequence)) > maxWord {
		return Presence{}, errNoPresence
	}
	return Presence{
		ID:           person(doc.ID, doc.ODataID),
		Availability: doc.Availability, Activity: doc.Activity, Sequence: doc.Sequence,
	}, nil
}

var (
	guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	// resourceOf finds the person in users/{id}/presence and in
	// communications/presences/{id}, also in the form of users('{id}').
	resourceOf = regexp.MustCompile(`(?:^|/)(?:users|presences)(?:/|\(')([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:$|/|@|'\))`)
)

// maxResource bounds an @odata.id that is looked at, in bytes.
const maxResource = 512

// person returns the object id, in lower case, that a resource's id gives or
// else its @odata.id; empty if neither has a GUID.
func person(id, odataID string) string {
	if len(id) == 36 {
		if id = strings.ToLower(id); guid.MatchString(id) {
			return id
		}
	}
	if len(odataID) <= maxResource {
		if m := resourceOf.FindStringSubmatch(strings.ToLower(odataID)); m != nil {
			return m[1]
		}
	}
	return ""
}
