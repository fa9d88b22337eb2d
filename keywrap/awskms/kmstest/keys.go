package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const maxKeyIDSize = 2048 // characters of a KeyId parameter

// The states of a key that exist here.
const (
	stateEnabled                = "Enabled"
	stateDisabled               = "Disabled"
	statePendingDeletion        = "PendingDeletion"
	statePendingReplicaDeletion = "PendingReplicaDeletion"
)

// A region holds the keys and aliases of one Region. Its fields and those of
// its keys are guarded by the server's mutex.
type region struct {
	server  *Server
	name    string
	keys    map[string]*key // by key id
	aliases map[string]*alias
}

type alias struct {
	name             string
	target           *key
	created, updated time.Time
}

// A key is a KMS key in one Region.
type key struct {
	id          string
	spec        string
	region      *region
	description string
	created     time.Time
	state       string
	window      int       // days of waiting before deletion
	deletion    time.Time // while the state is PendingDeletion
	primary     *key      // of a multi-Region key, itself included; else nil
	*material
}

// material is what the related multi-Region keys share: the versions of a
// symmetric key's bytes, the current one at the end, or an RSA key.
type material struct {
	versions []version
	private  *rsa.PrivateKey // nil for a symmetric key
}

type version struct {
	id   [32]byte
	aead cipher.AEAD
}

func (m *material) rotate() {
	var v version
	rand.Read(v.id[:])
	var bytes [32]byte
	rand.Read(bytes[:])
	block, err := aes.NewCipher(bytes[:])
	if err == nil {
		v.aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic(err) // a 32-byte key is always accepted
	}
	m.versions = append(m.versions, v)
}

// currentVersion returns nil for an RSA key.
func (m *material) currentVersion() *version {
	if m.private != nil {
		return nil
	}
	return &m.versions[len(m.versions)-1]
}

func (m *material) find(id [32]byte) *version {
	for i := range m.versions {
		if m.versions[i].id == id {
			return &m.versions[i]
		}
	}
	return nil
}

func (v *version) String() string { return hex.EncodeToString(v.id[:]) }

func (k *key) arn() string { return k.region.arn("key/" + k.id) }

func (r *region) arn(resource string) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:%s", r.name, r.server.account, resource)
}

func (r *region) newKey(spec, description string, multiRegion bool) *key {
	k := &key{id: uuid(), spec: spec, region: r, description: description, created: r.server.now(), state: stateEnabled, material: &material{}}
	if multiRegion {
		k.id = "mrk-" + strings.ReplaceAll(k.id, "-", "")
		k.primary = k
	}
	if bits := rsaBits[spec]; bits > 0 {
		var err error
		if k.private, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			panic(err) // the sizes are ones that are always accepted
		}
	} else {
		k.rotate()
	}
	r.keys[k.id] = k
	return k
}

// related returns the multi-Region keys that share k's material, k included,
// by Region.
func (k *key) related() map[string]*key {
	keys := make(map[string]*key)
	for name, r := range k.region.server.regions {
		if other := r.keys[k.id]; other != nil {
			keys[name] = other
		}
	}
	return keys
}

// enabled returns the error of an operation that takes an enabled key only.
func (k *key) enabled() error {
	switch k.state {
	case stateEnabled:
		return nil
	case stateDisabled:
		return fail("DisabledException", "%s is disabled.", k.arn())
	default:
		return k.notPending()
	}
}

// notPending returns the error of an operation that a key awaiting deletion
// refuses.
func (k *key) notPending() error {
	switch k.state {
	case statePendingDeletion:
		return fail("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case statePendingReplicaDeletion:
		return fail("KMSInvalidStateException", "%s is pending replica deletion.", k.arn())
	default:
		return nil
	}
}

// deleteExpired deletes the keys whose waiting period is over, and starts the
// period of primary keys that have no replica left. It is called with the
// mutex held before each operation.
func (s *Server) deleteExpired() {
	now := s.now()
	for _, r := range s.regions {
		for id, k := range r.keys {
			if k.state == statePendingDeletion && !now.Before(k.deletion) {
				delete(r.keys, id)
				for name, a := range r.aliases {
					if a.target == k {
						delete(r.aliases, name)
					}
				}
			}
		}
	}
	for _, r := range s.regions {
		for _, k := range r.keys {
			if k.state == statePendingReplicaDeletion && len(k.related()) == 1 {
				k.state, k.deletion = statePendingDeletion, now.AddDate(0, 0, k.window)
			}
		}
	}
}

var keyIDPattern = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)

// find returns the key that a KeyId parameter names in one of the four forms:
// key id, key ARN, alias name, alias ARN.
func (r *region) find(field string, id *string) (*key, error) {
	resource, err := r.resource(field, id)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(resource, "alias/") {
		a := r.aliases[resource]
		if a == nil {
			return nil, fail("NotFoundException", "Alias %s is not found.", r.arn(resource))
		}
		return a.target, nil
	}
	k := r.keys[strings.TrimPrefix(resource, "key/")]
	if k == nil {
		return nil, fail("NotFoundException", "Key '%s' does not exist", r.arn(resource))
	}
	return k, nil
}

// findKey is find for the operations that take no alias.
func (r *region) findKey(field string, id *string) (*key, error) {
	resource, err := r.resource(field, id)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(resource, "alias/") {
		if strings.HasPrefix(*id, "arn:") {
			return nil, fail("InvalidArnException", "%s is not a valid key ARN.", *id)
		}
		return nil, fail("NotFoundException", "Invalid keyId '%s'", *id)
	}
	return r.find(field, id)
}

// resource reduces a KeyId parameter to "key/id" or "alias/name", after the
// checks of its form, Region and account.
func (r *region) resource(field string, id *string) (string, error) {
	if err := checkSize(field, id, 1, maxKeyIDSize); err != nil {
		return "", err
	}
	resource := *id
	if strings.HasPrefix(resource, "arn:") {
		parts := strings.SplitN(resource, ":", 6)
		if len(parts) != 6 || parts[1] != "aws" || parts[2] != "kms" {
			return "", fail("InvalidArnException", "%s is not a valid ARN.", resource)
		}
		if parts[3] != r.name {
			return "", fail("NotFoundException", "Invalid arn %s", parts[3])
		}
		if parts[4] != r.server.account {
			return "", fail("AccessDeniedException", "The resource %s does not exist in this account, and no resource-based policy allows access.", resource)
		}
		resource = parts[5]
		if !strings.HasPrefix(resource, "key/") && !strings.HasPrefix(resource, "alias/") {
			return "", fail("InvalidArnException", "%s is not a valid ARN.", *id)
		}
	} else if !strings.HasPrefix(resource, "alias/") {
		resource = "key/" + resource
	}
	if id, ok := strings.CutPrefix(resource, "key/"); ok && !keyIDPattern.MatchString(id) {
		return "", fail("NotFoundException", "Invalid keyId '%s'", id)
	}
	return resource, nil
}

// checkSize checks a required string parameter's size in characters.
func checkSize(field string, s *string, least, most int) error {
	switch {
	case s == nil:
		return invalid(field, "Member must not be null")
	case len(*s) < least:
		return invalid(field, "Member must have length greater than or equal to %d", least)
	case len(*s) > most:
		return invalid(field, "Member must have length less than or equal to %d", most)
	}
	return nil
}
