package kmstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	encryptDecrypt = "ENCRYPT_DECRYPT"

	maxRotations   = 25 // on-demand rotations of a key
	maxDescription = 8192
)

type keyInput struct {
	KeyId *string
}

type createKeyInput struct {
	Description           *string
	KeySpec               string
	CustomerMasterKeySpec string // the old name of KeySpec
	KeyUsage              string
	MultiRegion           bool
	Origin                string
	CustomKeyStoreId      *string
	XksKeyId              *string
}

func (r *region) createKey(in *createKeyInput) (any, error) {
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" {
		return nil, fail("ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
	}
	spec := cmp.Or(in.KeySpec, in.CustomerMasterKeySpec, symmetric)
	if spec != symmetric && rsaBits[spec] == 0 {
		return nil, fail("UnsupportedOperationException", "kmstest makes keys of spec %s, RSA_2048, RSA_3072 and RSA_4096 only", symmetric)
	}
	if spec != symmetric && in.KeyUsage == "" {
		return nil, fail("ValidationException", "You must specify a KeyUsage value for an asymmetric key.")
	}
	if usage := cmp.Or(in.KeyUsage, encryptDecrypt); usage != encryptDecrypt {
		return nil, fail("UnsupportedOperationException", "kmstest makes keys of usage %s only", encryptDecrypt)
	}
	if in.Origin != "" && in.Origin != "AWS_KMS" {
		return nil, fail("UnsupportedOperationException", "kmstest makes keys of origin AWS_KMS only")
	}
	if in.CustomKeyStoreId != nil || in.XksKeyId != nil {
		return nil, fail("UnsupportedOperationException", "kmstest has no custom key stores")
	}
	description, err := checkDescription(in.Description)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": r.newKey(spec, description, in.MultiRegion).metadata()}, nil
}

func checkDescription(s *string) (string, error) {
	if s == nil {
		return "", nil
	}
	return *s, checkSize("description", s, 0, maxDescription)
}

type describeInput struct {
	requestOptions
	KeyId *string
}

func (r *region) describeKey(in *describeInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	k, err := r.find("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": k.metadata()}, nil
}

// metadata returns the KeyMetadata of the AWS KMS API Reference.
func (k *key) metadata() map[string]any {
	m := map[string]any{
		"AWSAccountId":          k.region.server.account,
		"Arn":                   k.arn(),
		"CreationDate":          timestamp(k.created),
		"CustomerMasterKeySpec": k.spec,
		"Description":           k.description,
		"Enabled":               k.state == stateEnabled,
		"EncryptionAlgorithms":  k.algorithms(),
		"KeyId":                 k.id,
		"KeyManager":            "CUSTOMER",
		"KeySpec":               k.spec,
		"KeyState":              k.state,
		"KeyUsage":              encryptDecrypt,
		"MultiRegion":           k.primary != nil,
		"Origin":                "AWS_KMS",
	}
	addMaterialID(m, "CurrentKeyMaterialId", k.currentVersion())
	switch k.state {
	case statePendingDeletion:
		m["DeletionDate"] = timestamp(k.deletion)
	case statePendingReplicaDeletion:
		m["PendingDeletionWindowInDays"] = k.window
	}
	if k.primary != nil {
		kind := "REPLICA"
		if k.primary == k {
			kind = "PRIMARY"
		}
		replicas := []map[string]string{}
		related := k.related()
		for _, name := range slices.Sorted(maps.Keys(related)) {
			if other := related[name]; other != k.primary {
				replicas = append(replicas, other.multiRegionKey())
			}
		}
		m["MultiRegionConfiguration"] = map[string]any{
			"MultiRegionKeyType": kind,
			"PrimaryKey":         k.primary.multiRegionKey(),
			"ReplicaKeys":        replicas,
		}
	}
	return m
}

func (k *key) multiRegionKey() map[string]string {
	return map[string]string{"Arn": k.arn(), "Region": k.region.name}
}

// timestamp is a time as the JSON protocol writes it: seconds since 1970.
func timestamp(t time.Time) json.Number {
	return json.Number(fmt.Sprintf("%d.%03d", t.Unix(), t.Nanosecond()/1e6))
}

func (r *region) enableKey(in *keyInput) (any, error) { return r.setState(in, stateEnabled) }

func (r *region) disableKey(in *keyInput) (any, error) { return r.setState(in, stateDisabled) }

func (r *region) setState(in *keyInput, state string) (any, error) {
	k, err := r.findKey("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := k.notPending(); err != nil {
		return nil, err
	}
	k.state = state
	return nil, nil
}

type deletionInput struct {
	KeyId               *string
	PendingWindowInDays *int
}

func (r *region) scheduleKeyDeletion(in *deletionInput) (any, error) {
	days := 30
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	if days < 7 {
		return nil, invalid("pendingWindowInDays", "Member must have value greater than or equal to 7")
	}
	if days > 30 {
		return nil, invalid("pendingWindowInDays", "Member must have value less than or equal to 30")
	}
	k, err := r.findKey("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := k.notPending(); err != nil {
		return nil, err
	}
	k.window = days
	out := map[string]any{"KeyId": k.arn(), "PendingWindowInDays": days}
	if k.primary == k && len(k.related()) > 1 {
		k.state = statePendingReplicaDeletion
	} else {
		k.state, k.deletion = statePendingDeletion, r.server.now().AddDate(0, 0, days)
		out["DeletionDate"] = timestamp(k.deletion)
	}
	out["KeyState"] = k.state
	return out, nil
}

func (r *region) cancelKeyDeletion(in *keyInput) (any, error) {
	k, err := r.findKey("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if k.notPending() == nil {
		return nil, fail("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
	}
	k.state = stateDisabled
	return map[string]any{"KeyId": k.arn()}, nil
}

// rotateKeyOnDemand adds key material at once; AWS takes some seconds.
func (r *region) rotateKeyOnDemand(in *keyInput) (any, error) {
	k, err := r.findKey("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := k.enabled(); err != nil {
		return nil, err
	}
	if k.private != nil {
		return nil, fail("UnsupportedOperationException", "%s is not a symmetric key.", k.arn())
	}
	if k.primary != nil && k.primary != k {
		return nil, fail("UnsupportedOperationException", "%s is a replica key: rotate its primary key.", k.arn())
	}
	if len(k.versions) > maxRotations {
		return nil, fail("LimitExceededException", "%s has been rotated %d times.", k.arn(), maxRotations)
	}
	k.rotate()
	return map[string]any{"KeyId": k.arn()}, nil
}

type replicateInput struct {
	KeyId         *string
	ReplicaRegion *string
	Description   *string
}

// replicateKey makes the replica at once; AWS takes some seconds.
func (r *region) replicateKey(in *replicateInput) (any, error) {
	if err := checkSize("replicaRegion", in.ReplicaRegion, 1, 32); err != nil {
		return nil, err
	}
	description, err := checkDescription(in.Description)
	if err != nil {
		return nil, err
	}
	k, err := r.findKey("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := k.enabled(); err != nil {
		return nil, err
	}
	if k.primary != k {
		return nil, fail("UnsupportedOperationException", "%s is not a multi-Region primary key.", k.arn())
	}
	to := r.server.regions[*in.ReplicaRegion]
	if to == nil || to == r {
		return nil, fail("ValidationException", "ReplicaRegion is not another Region of this server.")
	}
	if to.keys[k.id] != nil {
		return nil, fail("AlreadyExistsException", "A replica of %s exists in that Region.", k.arn())
	}
	replica := &key{
		id: k.id, spec: k.spec, region: to, description: description, created: r.server.now(),
		state: stateEnabled, primary: k, material: k.material,
	}
	to.keys[k.id] = replica
	return map[string]any{"ReplicaKeyMetadata": replica.metadata(), "ReplicaPolicy": "", "ReplicaTags": []string{}}, nil
}
