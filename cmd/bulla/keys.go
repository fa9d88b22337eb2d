package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/spf13/pflag"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
)

// keyFileEnv names the key file when no key is given.
const keyFileEnv = "BULLA_KEY_FILE"

// keyFlags say which wrapping keys to use.
type keyFlags struct {
	prefix         string // of the flags: "new-" for the new keys of a re-wrap
	access         *keyAccess
	files          []string
	kms            []string
	passphrase     bool
	passphraseFile string

	// For writing only.
	recipients []string
	active     string
	classical  []string
}

// keyAccess says how to get at the keys.
type keyAccess struct {
	insecure    bool
	kmsEndpoint string
	aws         awsFlags
}

// awsFlags are for every AWS service.
type awsFlags struct {
	region  string
	profile string
}

// registerRead adds the flags of keys that read, and may write.
func (f *keyFlags) registerRead(flags *pflag.FlagSet) {
	f.access = &keyAccess{}
	flags.StringArrayVarP(&f.files, "key", "k", nil, "secret or private key: `FILE`, NAME=FILE for one in PEM, or a\ndirectory; repeatable: write for the first, read with any")
	flags.StringArrayVar(&f.kms, "kms", nil, "AWS KMS key: `ID`, ARN or alias/NAME; repeatable likewise")
	flags.BoolVar(&f.passphrase, "passphrase", false, "ask for a passphrase on the terminal")
	flags.StringVar(&f.passphraseFile, "passphrase-file", "", "the passphrase is the first line of `FILE`")
}

// registerWrite adds the flags that only matter where streams are written.
func (f *keyFlags) registerWrite(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.recipients, "recipient", "r", nil, "write for this public key too: `FILE`, NAME=FILE for one in PEM,\nor the line itself; repeatable")
	flags.StringVar(&f.active, "active", "", "write for the --key of this `NAME` instead of the first")
	flags.StringArrayVar(&f.classical, "classical", nil, "let the key of this `NAME`, which quantum computers break, open\na stream for a post-quantum one; repeatable")
}

// registerNew adds the flags of the new keys of a re-wrap.
func (f *keyFlags) registerNew(flags *pflag.FlagSet, access *keyAccess) {
	f.prefix, f.access = "new-", access
	flags.StringArrayVar(&f.files, "new-key", nil, "wrap for this secret or private key: `FILE`, NAME=FILE or\ndirectory")
	flags.StringVar(&f.active, "new-active", "", "of the keys of --new-key, the one of this `NAME`, not the first")
	flags.StringArrayVarP(&f.recipients, "new-recipient", "r", nil, "wrap for this public key: `FILE`, NAME=FILE or the line itself;\nrepeatable")
	flags.StringArrayVar(&f.kms, "new-kms", nil, "wrap for this AWS KMS key: `ID`, ARN or alias/NAME")
	flags.BoolVar(&f.passphrase, "new-passphrase", false, "wrap for a passphrase, asked for on the terminal")
	flags.StringVar(&f.passphraseFile, "new-passphrase-file", "", "wrap for the passphrase that is the first line of `FILE`")
	flags.StringArrayVar(&f.classical, "classical", nil, "let the key of this `NAME`, which quantum computers break, open\na stream for a post-quantum one; repeatable")
}

// register adds the flags that are the same for all keys.
func (f *keyAccess) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.insecure, "insecure-key-file", false, "accept secret files that other users can read")
	flags.StringVar(&f.kmsEndpoint, "kms-endpoint-url", "", "`URL` of the KMS endpoint")
	f.aws.register(flags)
}

func (f *awsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.region, "region", "", "AWS `REGION` (a key ARN has its own)")
	flags.StringVar(&f.profile, "profile", "", "`NAME` of the AWS profile")
}

// load returns the configuration as the AWS CLI would find it.
func (f *awsFlags) load(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(f.region), config.WithSharedConfigProfile(f.profile))
	if err != nil {
		return cfg, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	return cfg, nil
}

// given reports whether any key is.
func (f *keyFlags) given() bool {
	return len(f.files)+len(f.kms)+len(f.recipients) > 0 || f.passphrase || f.passphraseFile != ""
}

// check refuses what cannot be meant, and takes the key file of the
// environment when no key is given.
func (f *keyFlags) check() error {
	if env := os.Getenv(keyFileEnv); env != "" && !f.given() {
		f.files = []string{env}
	}
	switch {
	case !f.given():
		return usagef("no key: give --key, --kms or --passphrase, or set %s", keyFileEnv)
	case f.passphrase && f.passphraseFile != "":
		return usagef("--%spassphrase and --%[1]spassphrase-file: give one of them", f.prefix)
	case f.active != "" && len(f.files) == 0:
		return usagef("--%sactive chooses among the keys of --%[1]skey, and there is none", f.prefix)
	case f.prefix != "" && (len(f.files) > 1 || len(f.kms) > 1): // what would the second one be for?
		return usagef("give --new-key and --new-kms once: only public keys, --new-recipient, can be several")
	}
	return nil
}

// wrapper returns what wraps data keys: for the active key, the first KMS key,
// every public key and the passphrase. The names are those of the keys of
// files.
func (a *app) wrapper(ctx context.Context, f *keyFlags) (_ keywrap.Wrapper, names []string, err error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	keys, err := f.readKeys()
	if err != nil {
		return nil, nil, err
	}
	recipients, err := f.readRecipients()
	if err != nil {
		return nil, nil, err
	}
	if err := refuseTwins(keys, recipients); err != nil {
		return nil, nil, err
	}
	rings, err := f.loadKMS(ctx)
	if err != nil {
		return nil, nil, err
	}
	var wrappers []keywrap.Wrapper // KMS first: it then makes the data key, which takes no further permission
	if len(rings) > 0 {
		wrappers = append(wrappers, rings[0])
	}
	if len(keys) > 0 {
		wrappers, names = append(wrappers, keys[0]), append(names, keys[0].KeyName())
	}
	for _, r := range recipients {
		wrappers, names = append(wrappers, r), append(names, r.KeyName())
	}
	p, err := a.loadPassphrase(ctx, f, true)
	if err != nil {
		return nil, nil, err
	}
	if p != nil {
		wrappers = append(wrappers, p)
	}
	return keywrap.Multi(wrappers...), names, nil
}

// unwrapper returns what unwraps data keys: any of the keys.
func (a *app) unwrapper(ctx context.Context, f *keyFlags) (keywrap.Unwrapper, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	keys, err := f.readKeys()
	if err != nil {
		return nil, err
	}
	if err := refuseTwins(keys, nil); err != nil {
		return nil, err
	}
	rings, err := f.loadKMS(ctx)
	if err != nil {
		return nil, err
	}
	var unwrappers []keywrap.Unwrapper
	for _, key := range keys {
		unwrappers = append(unwrappers, key)
	}
	for _, ring := range rings {
		unwrappers = append(unwrappers, ring)
	}
	p, err := a.loadPassphrase(ctx, f, false)
	if err != nil {
		return nil, err
	}
	if p != nil {
		unwrappers = append(unwrappers, p)
	}
	return keywrap.AnyOf(unwrappers...), nil
}

// readKeys reads the keys of all files; the first one is for writing.
func (f *keyFlags) readKeys() ([]keywrap.Key, error) {
	var keys []keywrap.Key
	for _, file := range f.files {
		more, err := readKeys(file, f.access.insecure)
		if err != nil {
			return nil, keyError{err}
		}
		keys = append(keys, more...)
	}
	if f.active == "" {
		return keys, nil
	}
	at := slices.IndexFunc(keys, func(k keywrap.Key) bool { return k.KeyName() == f.active })
	if at < 0 {
		return nil, usagef("--%sactive %.128q: no such key among those of --%[1]skey", f.prefix, f.active)
	}
	keys[0], keys[at] = keys[at], keys[0]
	return keys, nil
}

func (f *keyFlags) readRecipients() ([]recipient, error) {
	var all []recipient
	for _, arg := range f.recipients {
		more, err := readRecipients(arg)
		if err != nil {
			return nil, keyError{err}
		}
		all = append(all, more...)
	}
	return all, nil
}

// refuseTwins refuses two keys of one name, by which a header tells keys apart.
func refuseTwins(keys []keywrap.Key, recipients []recipient) error {
	seen := map[string]bool{}
	for _, key := range keys {
		recipients = append(recipients, key)
	}
	for _, r := range recipients {
		if seen[r.KeyName()] {
			return keyError{fmt.Errorf("two keys have the name %.128q, by which a header tells keys apart: leave one out", r.KeyName())}
		}
		seen[r.KeyName()] = true
	}
	return nil
}

// loadKMS returns a keyring for each KMS key, as each may be in a Region of its
// own, which a key ARN tells.
func (f *keyFlags) loadKMS(ctx context.Context) ([]*awskms.Keyring, error) {
	if len(f.kms) == 0 {
		return nil, nil
	}
	cfg, err := f.access.aws.load(ctx)
	if err != nil {
		return nil, err
	}
	var rings []*awskms.Keyring
	for _, id := range f.kms {
		client := kms.NewFromConfig(cfg, func(o *kms.Options) {
			if name, err := arn.Parse(id); err == nil {
				o.Region = name.Region
			}
			if f.access.kmsEndpoint != "" {
				o.BaseEndpoint = &f.access.kmsEndpoint
			}
		})
		ring, err := awskms.New(client, id, nil)
		if err != nil {
			return nil, usageError{err}
		}
		rings = append(rings, ring)
	}
	return rings, nil
}
