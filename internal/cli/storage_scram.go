package cli

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/cluster/controller"
)

// scramLevel is the metadata.version from which on the metadata holds SCRAM credentials, 3.5-IV2.
const scramLevel = 11

// defaultScramIterations is what kafka-storage takes where nothing is said.
const defaultScramIterations = 4096

// credentials are those that --add-scram describes, in the form of kafka-storage (KIP-900).
func (f *formatFlags) credentials(levels map[string]int16) (list []controller.ScramCredential, err error) {
	if level, ok := levels[controller.MetadataVersion]; len(f.scram) > 0 && ok && level < scramLevel {
		return nil, usagef("--add-scram: credentials are kept from metadata.version 3.5 on").try("a newer --release-version")
	}
	for _, text := range f.scram {
		c, err := parseAddScram(text)
		if err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return list, nil
}

// parseAddScram reads MECHANISM=[name=...,password=...,iterations=...,salt=...,saltedpassword=...]; a value may stand in
// double quotes. No error shows a value.
func parseAddScram(text string) (*controller.ScramCredential, error) {
	const form = "want MECHANISM=[name=USER,password=PASSWORD]"
	name, list, ok := strings.Cut(strings.TrimSpace(text), "=")
	list, open := strings.CutPrefix(list, "[")
	list, closed := strings.CutSuffix(list, "]")
	c := &controller.ScramCredential{Mechanism: controller.ScramMechanism(name), Iterations: defaultScramIterations}
	switch {
	case !ok || !open || !closed:
		return nil, usagef("--add-scram: %s", form)
	case c.Mechanism == 0:
		return nil, usagef("--add-scram %s: the mechanism must be SCRAM-SHA-256 or SCRAM-SHA-512", name)
	}
	seen := map[string]bool{}
	for list != "" {
		var key, value string
		if key, value, list, ok = scramPair(list); !ok {
			return nil, usagef("--add-scram %s: a KEY=VALUE is not one; %s", name, form)
		}
		if seen[key] {
			return nil, usagef("--add-scram %s: %s stands there twice", name, key)
		}
		seen[key] = true
		if err := setScram(c, key, value); err != nil {
			return nil, usagef("--add-scram %s: %v", name, err)
		}
	}
	salted, plain := len(c.SaltedPassword) > 0, len(c.Password) > 0
	switch {
	case c.User == "":
		return nil, usagef("--add-scram %s: name is missing", name)
	case salted == plain:
		return nil, usagef("--add-scram %s: one of password and saltedpassword is wanted", name)
	case salted && len(c.Salt) == 0:
		return nil, usagef("--add-scram %s: saltedpassword needs the salt that it was made with", name)
	case c.Iterations < 4096 || c.Iterations > 16384:
		return nil, usagef("--add-scram %s: iterations=%d: want 4096 to 16384", name, c.Iterations)
	}
	if len(c.Salt) == 0 {
		c.Salt = []byte(rand.Text())
	}
	return c, nil
}

// scramPair cuts the first KEY=VALUE off a list.
func scramPair(list string) (key, value, rest string, ok bool) {
	key, rest, ok = strings.Cut(list, "=")
	key = strings.TrimSpace(key)
	rest = strings.TrimLeft(rest, " ")
	if !ok || key == "" {
		return "", "", "", false
	}
	if quoted, is := strings.CutPrefix(rest, `"`); is {
		if value, rest, ok = strings.Cut(quoted, `"`); !ok {
			return "", "", "", false
		}
		rest = strings.TrimLeft(rest, " ")
		if after, comma := strings.CutPrefix(rest, ","); comma {
			return key, value, after, true
		}
		return key, value, "", rest == ""
	}
	value, rest, _ = strings.Cut(rest, ",")
	return key, strings.TrimSpace(value), rest, true
}

func setScram(c *controller.ScramCredential, key, value string) (err error) {
	switch key {
	case "name":
		c.User = value
	case "password":
		c.Password = []byte(value)
	case "iterations":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return usagef("iterations is no number")
		}
		c.Iterations = int32(n)
	case "salt":
		if c.Salt, err = base64.StdEncoding.DecodeString(value); err != nil {
			return usagef("salt is not base64")
		}
	case "saltedpassword":
		if c.SaltedPassword, err = base64.StdEncoding.DecodeString(value); err != nil {
			return usagef("saltedpassword is not base64")
		}
	default:
		return usagef("%q is none of name, password, iterations, salt and saltedpassword", key)
	}
	return nil
}
