package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// The names of the SCRAM mechanisms.
const (
	Scram256Name = "SCRAM-SHA-256"
	Scram512Name = "SCRAM-SHA-512"
)

// Scram is SCRAM (RFC 5802, RFC 7677) without channel binding, with the credentials of the metadata.
//
// Kafka ends a login as soon as it does not find the user, which tells names that exist from those that do not. Here
// such a login goes on with a salt that is made up, the same each time, and fails where a wrong password does.
type Scram struct {
	name   string
	number int8 // of the mechanism in the metadata
	hash   func() hash.Hash
	image  func() *meta.Image
	secret [32]byte // what salts are made up from
	nonce  func() string
}

// NewScram returns the mechanism of this name, Scram256Name or Scram512Name, over the credentials of the image.
func NewScram(name string, image func() *meta.Image) *Scram {
	s := &Scram{name: name, number: 1, hash: sha256.New, image: image, nonce: rand.Text}
	if name == Scram512Name {
		s.number, s.hash = 2, sha512.New
	}
	_, _ = rand.Read(s.secret[:]) // it never fails
	return s
}

// Name implements Mechanism.
func (s *Scram) Name() string { return s.name }

// Start implements Mechanism.
func (s *Scram) Start() Exchange { return &scramExchange{s: s} }

type scramExchange struct {
	s          *Scram
	step       int
	first      clientFirst
	cred       *meta.Scram
	known      bool
	nonce      string // the client's, and ours behind it
	firstReply []byte
	user       string
}

// User implements Exchange.
func (e *scramExchange) User() string { return e.user }

// Step implements Exchange.
func (e *scramExchange) Step(token []byte) ([]byte, bool, error) {
	e.step++
	switch e.step {
	case 1:
		answer, err := e.begin(token)
		return answer, false, err
	case 2:
		answer, err := e.finish(token)
		return answer, err == nil, err
	}
	return nil, false, errOver
}

// minIterations is the least that RFC 7677 and Kafka allow.
const minIterations = 4096

// begin answers the client's first message with salt, iterations and nonce.
func (e *scramExchange) begin(token []byte) ([]byte, error) {
	first, err := parseClientFirst(token)
	if err != nil {
		return nil, err
	}
	e.first = first
	if first.authzid != "" && first.authzid != first.user {
		return nil, &Refusal{"Authentication failed: Client requested an authorization id that is different from username"}
	}
	// A delegation token is a name of another kind, and there are none.
	e.cred = e.s.image().Scram(meta.ScramKey{User: first.user, Mechanism: e.s.number})
	e.known = e.cred != nil && e.cred.Iterations >= minIterations && !first.token
	if !e.known {
		e.cred = e.s.madeUp(first.user)
	}
	e.nonce = first.nonce + e.s.nonce()
	reply := make([]byte, 0, 128)
	reply = append(append(reply, "r="...), e.nonce...)
	reply = base64.StdEncoding.AppendEncode(append(reply, ",s="...), e.cred.Salt)
	e.firstReply = strconv.AppendInt(append(reply, ",i="...), int64(e.cred.Iterations), 10)
	return e.firstReply, nil
}

// madeUp is a credential that nobody has the password of, and that looks like those that there are.
func (s *Scram) madeUp(user string) *meta.Scram {
	cred := &meta.Scram{Iterations: minIterations}
	saltBytes := 26 // of kafka-configs
	var like string // the first by name, so that it is always the same one
	for k, c := range s.image().Scrams() {
		if k.Mechanism == s.number && (like == "" || k.User < like) {
			like, cred.Iterations, saltBytes = k.User, c.Iterations, len(c.Salt)
		}
	}
	mac := hmac.New(sha512.New, s.secret[:])
	mac.Write([]byte(user))
	cred.Salt = mac.Sum(nil)[:min(max(saltBytes, 8), sha512.Size)]
	cred.StoredKey, cred.ServerKey = make([]byte, s.hash().Size()), make([]byte, s.hash().Size())
	return cred
}

// Why a final message is refused. The client is told none of it.
var (
	errNonce      = errors.New("the nonce of the final message is not the one that was given")
	errNonceTwice = fmt.Errorf("%w: it repeats its own half, as librdkafka does before 2.6.1; Apache Kafka 4 refuses that too", errNonce)
	errBinding    = errors.New("the channel binding of the final message is not the first one's")
	errProof      = errors.New("unknown user or wrong password")
)

// finish checks the client's proof, and answers with the server's.
func (e *scramExchange) finish(token []byte) ([]byte, error) {
	final, err := parseClientFinal(token)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(final.binding, []byte(e.first.gs2)) {
		return nil, errBinding
	}
	if final.nonce != e.nonce {
		if strings.HasSuffix(final.nonce, e.nonce) {
			return nil, errNonceTwice
		}
		return nil, errNonce
	}
	message := bytes.Join([][]byte{e.first.bare, e.firstReply, final.withoutProof}, []byte{','})
	signature := e.s.hmac(e.cred.StoredKey, message)
	same := 0
	if len(final.proof) == len(signature) {
		key := make([]byte, len(signature))
		subtle.XORBytes(key, final.proof, signature)
		h := e.s.hash()
		h.Write(key)
		same = subtle.ConstantTimeCompare(h.Sum(nil), e.cred.StoredKey)
	}
	if same != 1 || !e.known {
		return nil, errProof
	}
	e.user = e.first.user
	return base64.StdEncoding.AppendEncode([]byte("v="), e.s.hmac(e.cred.ServerKey, message)), nil
}

func (s *Scram) hmac(key, message []byte) []byte {
	mac := hmac.New(s.hash, key)
	mac.Write(message)
	return mac.Sum(nil)
}
