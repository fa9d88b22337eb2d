package main

import (
	"strings"
	"testing"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func TestKMS(t *testing.T) {
	inTempDir(t)
	server := newKMS(t)
	server.CreateKey("alias/backups")
	server.CreateKey("alias/other")
	write(t, "f", "text")
	withKMS := func(args string) []string { return append(strings.Fields(args), "--kms-endpoint-url", server.URL) }
	want(t, 0, withKMS("encrypt --kms alias/backups --context tenant=acme f -o kms.bulla")...)
	want(t, 0, withKMS("encrypt --kms alias/backups --key key f -o both.bulla")...)
	if r := want(t, 0, "inspect", "both.bulla"); !strings.Contains(r.stdout, "aws-kms") || !strings.Contains(r.stdout, "aes ") {
		t.Errorf("both.bulla is for\n%s", r.stdout)
	}
	for _, c := range []struct {
		code int
		args string
	}{
		{0, "--kms alias/backups kms.bulla"},
		{0, "--kms alias/other --kms alias/backups kms.bulla"},
		{exitKey, "--kms alias/other kms.bulla"},
		{exitKey, "--kms alias/missing kms.bulla"},
		{exitKey, "--key key kms.bulla"},
		{0, "--kms alias/backups both.bulla"},
		{0, "--key key both.bulla"},
		{0, "--key key --kms alias/missing both.bulla"},
	} {
		if r := want(t, c.code, withKMS("decrypt -o - "+c.args)...); c.code == 0 && r.stdout != "text" {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	// A key ARN tells its Region, whatever the environment says.
	info := want(t, 0, "inspect", "kms.bulla").stdout
	_, rest, _ := strings.Cut(info, `aws-kms "`)
	name, _, _ := strings.Cut(rest, `"`)
	t.Setenv("AWS_REGION", "eu-west-1")
	want(t, 0, withKMS("decrypt -o - kms.bulla --kms "+name)...)
	want(t, exitKey, withKMS("encrypt --kms alias/backups f -o new")...)
	wantFiles(t, "both.bulla", "f", "key", "kms.bulla")
}

// newKMS starts a key service, for which the environment has credentials.
func newKMS(t *testing.T) *kmstest.Server {
	t.Helper()
	server := kmstest.New(nil)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": kmstest.AccessKeyID, "AWS_SECRET_ACCESS_KEY": kmstest.SecretAccessKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	return server
}
