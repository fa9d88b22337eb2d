package kmstest_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

// TestKeyStates tries every operation on a key in every state.
func TestKeyStates(t *testing.T) {
	s, client := start(t, nil)
	ctx := t.Context()
	arn := s.CreateKey("alias/before")
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")}))(t).CiphertextBlob
	other := s.CreateKey()
	otherBlob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: &other, Plaintext: []byte("x")}))(t).CiphertextBlob

	check := func(state string, crypto, manage string) {
		t.Helper()
		for name, c := range map[string]struct {
			want string
			call func() error
		}{
			"Encrypt": {crypto, func() error {
				_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
				return err
			}},
			"GenerateDataKey": {crypto, func() error {
				_, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: new("alias/before"), KeySpec: types.DataKeySpecAes256})
				return err
			}},
			"GenerateDataKeyWithoutPlaintext": {crypto, func() error {
				_, err := client.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256})
				return err
			}},
			"Decrypt": {crypto, func() error {
				_, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: &arn, CiphertextBlob: blob})
				return err
			}},
			"Decrypt without KeyId": {crypto, func() error {
				_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
				return err
			}},
			"ReEncrypt from": {crypto, func() error {
				_, err := client.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: &other})
				return err
			}},
			"ReEncrypt to": {crypto, func() error {
				_, err := client.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: otherBlob, DestinationKeyId: &arn})
				return err
			}},
			"RotateKeyOnDemand": {crypto, func() error {
				_, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
				return err
			}},
			"UpdateAlias": {manage, func() error {
				_, err := client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: new("alias/before"), TargetKeyId: &arn})
				return err
			}},
			"CreateAlias": {manage, func() error {
				_, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: new("alias/" + state), TargetKeyId: &arn})
				return err
			}},
			"DescribeKey": {"", func() error {
				out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: new("alias/before")})
				if err == nil && (string(out.KeyMetadata.KeyState) != state || out.KeyMetadata.Enabled != (state == "Enabled") || *out.KeyMetadata.Arn != arn) {
					t.Errorf("metadata: %+v", out.KeyMetadata)
				}
				return err
			}},
		} {
			wantCode(t, c.call(), c.want)
			if t.Failed() {
				t.Fatalf("%s, key %s", name, state)
			}
		}
	}

	check("Enabled", "", "")
	_, err := client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn})
	wantCode(t, err, "KMSInvalidStateException")

	must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &arn}))(t)
	check("Disabled", "DisabledException", "")
	must(client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn}))(t)

	out := must(client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn}))(t)
	if *out.KeyId != arn || out.KeyState != types.KeyStatePendingDeletion || *out.PendingWindowInDays != 30 || out.DeletionDate == nil {
		t.Errorf("ScheduleKeyDeletion: %+v", out)
	}
	check("PendingDeletion", "KMSInvalidStateException", "KMSInvalidStateException")
	_, err = client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn})
	wantCode(t, err, "KMSInvalidStateException")
	_, err = client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &arn})
	wantCode(t, err, "KMSInvalidStateException")
	_, err = client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn})
	wantCode(t, err, "KMSInvalidStateException")

	must(client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn}))(t)
	must(client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: new("alias/Disabled")}))(t)
	check("Disabled", "DisabledException", "")
}

func TestCreateKey(t *testing.T) {
	_, client := start(t, &kmstest.Options{Regions: []string{"ap-south-2"}, Account: "999988887777"})
	k := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: new("for tests"), KeySpec: types.KeySpecSymmetricDefault}))(t).KeyMetadata
	if *k.Arn != "arn:aws:kms:ap-south-2:999988887777:key/"+*k.KeyId || *k.AWSAccountId != "999988887777" || *k.Description != "for tests" ||
		k.KeyState != types.KeyStateEnabled || k.KeyUsage != types.KeyUsageTypeEncryptDecrypt || *k.MultiRegion || k.MultiRegionConfiguration != nil {
		t.Errorf("metadata: %+v", k)
	}
	if age := time.Since(*k.CreationDate); age < -time.Second || age > time.Minute {
		t.Errorf("created %v ago", age)
	}
	for _, c := range []struct {
		in   kms.CreateKeyInput
		want string
	}{
		{kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify}, "UnsupportedOperationException"},
		{kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeGenerateVerifyMac}, "UnsupportedOperationException"},
		{kms.CreateKeyInput{Origin: types.OriginTypeExternal}, "UnsupportedOperationException"},
		{kms.CreateKeyInput{CustomKeyStoreId: new("cks-1234567890abcdef0")}, "UnsupportedOperationException"},
		{kms.CreateKeyInput{XksKeyId: new("x")}, "UnsupportedOperationException"},
		{kms.CreateKeyInput{Description: new(strings.Repeat("x", 8193))}, "ValidationException"},
		{kms.CreateKeyInput{}, ""},
	} {
		_, err := client.CreateKey(t.Context(), &c.in)
		wantCode(t, err, c.want)
	}
}

// TestOldKeySpec uses the parameter that KeySpec has replaced, which clients
// still send.
func TestOldKeySpec(t *testing.T) {
	s, _ := start(t, nil)
	for body, want := range map[string]string{
		`{"CustomerMasterKeySpec":"SYMMETRIC_DEFAULT"}`:                               "",
		`{"CustomerMasterKeySpec":"ECC_NIST_P256"}`:                                   "UnsupportedOperationException",
		`{"CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","KeySpec":"SYMMETRIC_DEFAULT"}`: "ValidationException",
	} {
		if _, got, answer := newRequest("CreateKey", body).send(t, s); got != want {
			t.Errorf("%s: %s, want %q", body, answer, want)
		}
	}
}

func TestDeletion(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, client := start(t, &kmstest.Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	arn := s.CreateKey("alias/doomed")
	for days, want := range map[int32]string{6: "ValidationException", 31: "ValidationException"} {
		_, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: &days})
		wantCode(t, err, want)
	}
	out := must(client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: new(int32(7))}))(t)
	end := now.AddDate(0, 0, 7)
	if !out.DeletionDate.Equal(end) {
		t.Errorf("deletion at %v, want %v", out.DeletionDate, end)
	}
	describe := func(id string) error {
		_, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		return err
	}
	now = end.Add(-time.Second)
	wantCode(t, describe("alias/doomed"), "")
	now = end
	wantCode(t, describe(arn), "NotFoundException")
	wantCode(t, describe("alias/doomed"), "NotFoundException")
	if list := must(client.ListAliases(ctx, nil))(t); len(list.Aliases) != 0 {
		t.Errorf("aliases left: %+v", list.Aliases)
	}
}

func TestRotation(t *testing.T) {
	s, client := start(t, nil)
	ctx := t.Context()
	arn := s.CreateKey()
	materials := make(map[string][]byte) // id -> blob
	for i := range 26 {
		blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte{byte(i)}}))(t).CiphertextBlob
		current := *must(client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn}))(t).KeyMetadata.CurrentKeyMaterialId
		materials[current] = blob
		_, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
		want := ""
		if i == 25 {
			want = "LimitExceededException"
		}
		wantCode(t, err, want)
	}
	if len(materials) != 26 {
		t.Fatalf("%d key materials after 25 rotations", len(materials))
	}
	for id, blob := range materials {
		if out := must(client.Decrypt(ctx, &kms.DecryptInput{KeyId: &arn, CiphertextBlob: blob}))(t); *out.KeyMaterialId != id {
			t.Errorf("decrypted with %s, encrypted with %s", *out.KeyMaterialId, id)
		}
	}
}

func TestMultiRegion(t *testing.T) {
	s, east := start(t, &kmstest.Options{Regions: []string{"us-east-1", "eu-west-1", "sa-east-1"}})
	ctx := t.Context()
	cfg := s.Config()
	cfg.Region = "eu-west-1"
	west := kms.NewFromConfig(cfg)

	single := s.CreateKey()
	_, err := east.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &single, ReplicaRegion: new("eu-west-1")})
	wantCode(t, err, "UnsupportedOperationException")

	primary := must(east.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: new(true)}))(t).KeyMetadata
	id := *primary.KeyId
	if !strings.HasPrefix(id, "mrk-") || len(id) != 36 || primary.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypePrimary {
		t.Fatalf("primary: %+v", primary)
	}
	blob := must(east.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))(t).CiphertextBlob
	_, err = west.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	wantCode(t, err, "AccessDeniedException")

	for region, want := range map[string]string{"us-east-1": "ValidationException", "mars-north-1": "ValidationException", "": "ValidationException"} {
		_, err = east.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: &region})
		wantCode(t, err, want)
	}
	replica := must(east.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: new("eu-west-1")}))(t).ReplicaKeyMetadata
	if *replica.KeyId != id || *replica.Arn != strings.Replace(*primary.Arn, "us-east-1", "eu-west-1", 1) {
		t.Errorf("replica: %+v", replica)
	}
	_, err = east.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: new("eu-west-1")})
	wantCode(t, err, "AlreadyExistsException")
	_, err = west.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: new("sa-east-1")})
	wantCode(t, err, "UnsupportedOperationException")
	described := must(west.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id}))(t).KeyMetadata.MultiRegionConfiguration
	if described.MultiRegionKeyType != types.MultiRegionKeyTypeReplica || *described.PrimaryKey.Arn != *primary.Arn || len(described.ReplicaKeys) != 1 {
		t.Errorf("configuration: %+v", described)
	}

	// Both directions, also after a rotation, which only the primary takes.
	_, err = west.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &id})
	wantCode(t, err, "UnsupportedOperationException")
	for range 2 {
		for _, pair := range [][2]*kms.Client{{east, west}, {west, east}} {
			blob := must(pair[0].Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))(t).CiphertextBlob
			for _, with := range []*string{nil, &id} {
				must(pair[1].Decrypt(ctx, &kms.DecryptInput{KeyId: with, CiphertextBlob: blob}))(t)
			}
		}
		must(east.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &id}))(t)
	}
	_, err = west.Decrypt(ctx, &kms.DecryptInput{KeyId: primary.Arn, CiphertextBlob: blob})
	wantCode(t, err, "NotFoundException") // a replica is not named by its primary's ARN

	// States are each Region's own.
	must(west.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}))(t)
	must(east.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t)
	_, err = west.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	wantCode(t, err, "DisabledException")
}

func TestMultiRegionDeletion(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, east := start(t, &kmstest.Options{Now: func() time.Time { return now }})
	ctx := context.Background()
	cfg := s.Config()
	cfg.Region = "eu-west-1"
	west := kms.NewFromConfig(cfg)
	id := *must(east.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: new(true)}))(t).KeyMetadata.KeyId
	must(east.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &id, ReplicaRegion: new("eu-west-1")}))(t)

	out := must(east.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: new(int32(10))}))(t)
	if out.KeyState != types.KeyStatePendingReplicaDeletion || out.DeletionDate != nil {
		t.Errorf("primary: %+v", out)
	}
	_, err := east.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &id})
	wantCode(t, err, "KMSInvalidStateException")
	state := func() string {
		out, err := east.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			name, _ := code(t, err)
			return name
		}
		return string(out.KeyMetadata.KeyState)
	}
	var states []string
	states = append(states, state())
	must(west.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: new(int32(7))}))(t)
	for range 3 {
		now = now.AddDate(0, 0, 7)
		states = append(states, state())
	}
	if want := []string{"PendingReplicaDeletion", "PendingDeletion", "PendingDeletion", "NotFoundException"}; !slices.Equal(states, want) {
		t.Errorf("states %q, want %q", states, want)
	}
}

func TestAliases(t *testing.T) {
	s, client := start(t, nil)
	ctx := t.Context()
	first, second := s.CreateKey(), s.CreateKey()
	firstID := first[strings.LastIndexByte(first, '/')+1:]
	create := func(name, target string) error {
		_, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &target})
		return err
	}
	for _, c := range []struct{ name, target, want string }{
		{"alias/a", first, ""},
		{"alias/A/b_c-9", firstID, ""},
		{"alias/" + strings.Repeat("x", 250), first, ""},
		{"alias/" + strings.Repeat("x", 251), first, "ValidationException"},
		{"alias/a", second, "AlreadyExistsException"},
		{"alias/", first, "ValidationException"},
		{"a", first, "ValidationException"},
		{"", first, "ValidationException"},
		{"alias/a b", first, "ValidationException"},
		{"alias/a:b", first, "ValidationException"},
		{"alias/ä", first, "ValidationException"},
		{"alias/aws/s3", first, "NotAuthorizedException"},
		{"alias/b", "alias/a", "ValidationException"},
		{"alias/b", strings.Replace(first, "key/"+firstID, "alias/a", 1), "InvalidArnException"},
		{"alias/b", "00000000-0000-0000-0000-000000000000", "NotFoundException"},
	} {
		err := create(c.name, c.target)
		if got, _ := code(t, err); got != c.want {
			t.Errorf("CreateAlias(%.20q, %q): %v, want %q", c.name, c.target, err, c.want)
		}
	}
	for i := 3; i < 50; i++ {
		if err := create("alias/many"+string(rune('0'+i/10))+string(rune('0'+i%10)), first); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, create("alias/one-more", first), "LimitExceededException")
	must(client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: new("alias/a"), TargetKeyId: &first}))(t) // it is one of the 50

	target := func() string {
		return *must(client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: new("alias/a")}))(t).KeyMetadata.Arn
	}
	must(client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: new("alias/a"), TargetKeyId: &second}))(t)
	if target() != second {
		t.Error("UpdateAlias left the target")
	}
	_, err := client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: new("alias/none"), TargetKeyId: &second})
	wantCode(t, err, "NotFoundException")
	_, err = client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: new("alias/a")})
	wantCode(t, err, "NotFoundException")
	must(client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: new("alias/A/b_c-9")}))(t)
	_, err = client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: new("alias/A/b_c-9")})
	wantCode(t, err, "NotFoundException")
	_, err = client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: new("other")})
	wantCode(t, err, "ValidationException")

	// Every page size gives the same list.
	want := must(client.ListAliases(ctx, &kms.ListAliasesInput{Limit: new(int32(100))}))(t)
	if len(want.Aliases) != 49 || want.Truncated {
		t.Fatalf("%d aliases", len(want.Aliases))
	}
	for _, limit := range []int32{1, 7, 48, 49, 50} {
		names := make(map[string]string)
		pages := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{Limit: &limit})
		for pages.HasMorePages() {
			for _, a := range must(pages.NextPage(ctx))(t).Aliases {
				names[*a.AliasName] = *a.TargetKeyId
			}
		}
		if len(names) != 49 || names["alias/many07"] != firstID {
			t.Errorf("limit %d: %d names", limit, len(names))
		}
	}
	if of := must(client.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &second}))(t).Aliases; len(of) != 1 || *of[0].AliasName != "alias/a" {
		t.Errorf("aliases of the second key: %+v", of)
	}
	for _, in := range []kms.ListAliasesInput{{Limit: new(int32(0))}, {Limit: new(int32(101))}} {
		_, err = client.ListAliases(ctx, &in)
		wantCode(t, err, "ValidationException")
	}
	for _, marker := range []string{"!", "eA=="} {
		_, err = client.ListAliases(ctx, &kms.ListAliasesInput{Marker: &marker})
		wantCode(t, err, "InvalidMarkerException")
	}
}

func TestCreateKeyHelper(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey("alias/a", "alias/b")
	if calls := s.Calls(); len(calls) != 0 {
		t.Errorf("log: %+v", calls)
	}
	names := make(map[string]bool)
	for _, a := range must(client.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: &arn}))(t).Aliases {
		names[*a.AliasName] = true
	}
	if !maps.Equal(names, map[string]bool{"alias/a": true, "alias/b": true}) {
		t.Errorf("aliases %v", names)
	}
	defer func() {
		if recover() == nil {
			t.Error("an alias that exists was made again")
		}
	}()
	s.CreateKey("alias/a")
}
