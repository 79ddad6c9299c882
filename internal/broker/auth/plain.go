package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// Plain is the mechanism PLAIN (RFC 4616): name and password in clear, for connections that are protected otherwise.
type Plain struct{ users map[string][sha256.Size]byte }

// PlainName is the name of the mechanism.
const PlainName = "PLAIN"

// NewPlain returns the mechanism for users with their passwords. Of these it keeps the hashes only.
func NewPlain(users map[string]string) *Plain {
	p := &Plain{users: make(map[string][sha256.Size]byte, len(users))}
	for name, password := range users {
		p.users[name] = sha256.Sum256([]byte(password))
	}
	return p
}

// Name implements Mechanism.
func (*Plain) Name() string { return PlainName }

// Start implements Mechanism.
func (p *Plain) Start() Exchange { return &plainExchange{p: p} }

type plainExchange struct {
	p    *Plain
	user string
	over bool
}

// User implements Exchange.
func (e *plainExchange) User() string { return e.user }

// Step implements Exchange, in the words of Kafka's PlainSaslServer. That a name is unknown takes as long as a wrong password.
func (e *plainExchange) Step(token []byte) ([]byte, bool, error) {
	if e.over {
		return nil, false, errOver
	}
	e.over = true
	parts := bytes.SplitN(token, []byte{0}, 5)
	if len(parts) != 3 {
		return nil, false, &Refusal{"Invalid SASL/PLAIN response: expected 3 tokens, got " + string('0'+byte(min(len(parts), 4)))}
	}
	authzid, user, password := string(parts[0]), string(parts[1]), parts[2]
	switch {
	case user == "":
		return nil, false, &Refusal{"Authentication failed: username not specified"}
	case len(password) == 0:
		return nil, false, &Refusal{"Authentication failed: password not specified"}
	}
	want, known := e.p.users[user]
	got := sha256.Sum256(password)
	if same := subtle.ConstantTimeCompare(want[:], got[:]) == 1; !same || !known {
		return nil, false, &Refusal{"Authentication failed: Invalid username or password"}
	}
	if authzid != "" && authzid != user {
		return nil, false, &Refusal{"Authentication failed: Client requested an authorization id that is different from username"}
	}
	e.user = user
	return []byte{}, true, nil
}

// errOver is a token after the end of a login.
var errOver = errors.New("the login is over")
