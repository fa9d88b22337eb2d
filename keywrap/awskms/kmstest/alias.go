package kmstest

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	maxAliasSize  = 256
	maxAliases    = 50 // of one key
	maxAliasLimit = 100
)

var aliasPattern = regexp.MustCompile(`^[a-zA-Z0-9/_-]+$`)

func checkAlias(name *string) error {
	if err := checkSize("aliasName", name, 1, maxAliasSize); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(*name, "alias/")
	if !ok || rest == "" {
		return fail("ValidationException", "Invalid identifier")
	}
	if !aliasPattern.MatchString(rest) {
		return invalid("aliasName", "Member must satisfy regular expression pattern: ^alias/[a-zA-Z0-9/_-]+$")
	}
	if strings.HasPrefix(rest, "aws/") {
		return fail("NotAuthorizedException", "")
	}
	return nil
}

type aliasInput struct {
	AliasName   *string
	TargetKeyId *string
}

// target checks an alias and the key that it is to name.
func (r *region) target(in *aliasInput) (*key, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	if in.TargetKeyId != nil && strings.HasPrefix(*in.TargetKeyId, "alias/") {
		return nil, fail("ValidationException", "Aliases must refer to keys. Not aliases")
	}
	k, err := r.findKey("targetKeyId", in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	if err := k.notPending(); err != nil {
		return nil, err
	}
	count := 0
	for _, a := range r.aliases {
		if a.target == k && a.name != *in.AliasName {
			count++
		}
	}
	if count >= maxAliases {
		return nil, fail("LimitExceededException", "%s has %d aliases.", k.arn(), count)
	}
	return k, nil
}

func (r *region) createAlias(in *aliasInput) (any, error) {
	k, err := r.target(in)
	if err != nil {
		return nil, err
	}
	if r.aliases[*in.AliasName] != nil {
		return nil, fail("AlreadyExistsException", "An alias with the name %s already exists", r.arn(*in.AliasName))
	}
	now := r.server.now()
	r.aliases[*in.AliasName] = &alias{name: *in.AliasName, target: k, created: now, updated: now}
	return nil, nil
}

func (r *region) updateAlias(in *aliasInput) (any, error) {
	k, err := r.target(in)
	if err != nil {
		return nil, err
	}
	a := r.aliases[*in.AliasName]
	if a == nil {
		return nil, fail("NotFoundException", "Alias %s is not found.", r.arn(*in.AliasName))
	}
	a.target, a.updated = k, r.server.now()
	return nil, nil
}

func (r *region) deleteAlias(in *aliasInput) (any, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	if r.aliases[*in.AliasName] == nil {
		return nil, fail("NotFoundException", "Alias %s is not found.", r.arn(*in.AliasName))
	}
	delete(r.aliases, *in.AliasName)
	return nil, nil
}

type listInput struct {
	KeyId  *string
	Limit  *int
	Marker *string
}

// listAliases answers by ascending name. A marker is the name to go on from, in
// base64.
func (r *region) listAliases(in *listInput) (any, error) {
	limit := 50
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > maxAliasLimit {
		return nil, invalid("limit", "Member must have value between 1 and %d", maxAliasLimit)
	}
	var of *key
	if in.KeyId != nil {
		var err error
		if of, err = r.findKey("keyId", in.KeyId); err != nil {
			return nil, err
		}
	}
	from := ""
	if in.Marker != nil {
		b, err := base64.StdEncoding.DecodeString(*in.Marker)
		from = string(b)
		if err != nil || checkAlias(&from) != nil {
			return nil, fail("InvalidMarkerException", "Marker is invalid.")
		}
	}
	entries := []map[string]any{}
	out := map[string]any{"Truncated": false}
	for _, name := range slices.Sorted(maps.Keys(r.aliases)) {
		a := r.aliases[name]
		if name < from || of != nil && a.target != of {
			continue
		}
		if len(entries) == limit {
			out["Truncated"], out["NextMarker"] = true, base64.StdEncoding.EncodeToString([]byte(name))
			break
		}
		entries = append(entries, map[string]any{
			"AliasArn": r.arn(name), "AliasName": name, "TargetKeyId": a.target.id,
			"CreationDate": timestamp(a.created), "LastUpdatedDate": timestamp(a.updated),
		})
	}
	out["Aliases"] = entries
	return out, nil
}
