package awskms

import (
	"strings"
)

// A keyARN is the ARN of a key, arn:partition:kms:region:account:key/id, taken
// apart. A bare key id has only the id.
type keyARN struct {
	partition, region, account, id string
}

func (a keyARN) String() string {
	return "arn:" + a.partition + ":kms:" + a.region + ":" + a.account + ":key/" + a.id
}

// parseKeyARN takes the ARN of a key apart. It is strict: every part is there
// and made of the characters that AWS uses, so that equal keys have equal
// strings and a name from a header is fit for an error message.
func parseKeyARN(s string) (a keyARN, ok bool) {
	a, resource, ok := parseARN(s)
	if !ok {
		return keyARN{}, false
	}
	a.id, ok = strings.CutPrefix(resource, "key/")
	return a, ok && validKeyID(a.id)
}

func parseARN(s string) (a keyARN, resource string, ok bool) {
	parts := strings.SplitN(s, ":", 6)
	if len(s) > maxKeyNameSize || len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" {
		return a, "", false
	}
	a = keyARN{partition: parts[1], region: parts[3], account: parts[4]}
	for _, part := range []string{a.partition, a.region} {
		if part == "" || !consistsOf(part, lower+digits+"-") {
			return a, "", false
		}
	}
	if len(a.account) != 12 || !consistsOf(a.account, digits) {
		return a, "", false
	}
	return a, parts[5], true
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// consistsOf reports whether every byte of s is in set.
func consistsOf(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

func validKeyID(s string) bool {
	return s != "" && consistsOf(s, lower+upper+digits+"-")
}

// validAlias checks an alias with its prefix. The service's own, alias/aws/...,
// are good: they name keys too.
func validAlias(s string) bool {
	name, ok := strings.CutPrefix(s, "alias/")
	return ok && name != "" && len(s) <= 256 && consistsOf(name, lower+upper+digits+"/_-")
}

// covers reports whether a configured key is the one that a header names: the
// same key, or a related multi-Region key, which has the same key material and
// differs in nothing but its Region. A bare key id covers every ARN with that
// id: the call is then made with the id, which KMS looks up in the client's
// own account and Region.
func (a keyARN) covers(b keyARN) bool {
	if a.id != b.id {
		return false
	}
	if a.account == "" {
		return true
	}
	return a.partition == b.partition && a.account == b.account &&
		(a.region == b.region || strings.HasPrefix(a.id, "mrk-"))
}
