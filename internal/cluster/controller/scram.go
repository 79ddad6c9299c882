package controller

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Bounds of the iterations of a SCRAM credential.
const (
	minScramIterations = 4096
	maxScramIterations = 16384
)

// scramHash is the hash of a SCRAM mechanism by its number, nil for an unknown one.
func scramHash(mechanism int8) func() hash.Hash {
	switch mechanism {
	case 1:
		return sha256.New
	case 2:
		return sha512.New
	}
	return nil
}

// AlterUserScramCredentials sets and removes SCRAM credentials; each user is answered once.
func (m *Machine) AlterUserScramCredentials(
	req *kmsg.AlterUserScramCredentialsRequest,
) ([]kmsg.Record, *kmsg.AlterUserScramCredentialsResponse) {
	var users []string
	named := map[string]int{}
	records, failed := map[string]kmsg.Record{}, map[string]error{}
	note := func(user string, record kmsg.Record, err error) {
		if named[user]++; named[user] == 1 {
			users = append(users, user)
		} else {
			err = refuse(kerr.DuplicateResource, "A user credential cannot be altered twice in the same request")
		}
		if records[user] = record; err != nil {
			failed[user] = err
		}
	}
	for _, d := range req.Deletions {
		record, err := m.deleteScram(d)
		note(d.Name, record, err)
	}
	for _, u := range req.Upsertions {
		record, err := upsertScram(u)
		note(u.Name, record, err)
	}
	resp := kmsg.NewAlterUserScramCredentialsResponse()
	var all []kmsg.Record
	for _, user := range users {
		result := kmsg.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult{User: user}
		result.ErrorCode, result.ErrorMessage = Code(failed[user])
		if failed[user] == nil {
			all = append(all, records[user])
		}
		resp.Results = append(resp.Results, result)
	}
	return all, &resp
}

func checkScram(user string, mechanism int8) error {
	if user == "" {
		return refuse(kerr.UnacceptableCredential, "Username must not be empty")
	}
	if scramHash(mechanism) == nil {
		return refuse(kerr.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
	}
	return nil
}

func (m *Machine) deleteScram(d kmsg.AlterUserScramCredentialsRequestScramCredentialDeletion) (kmsg.Record, error) {
	if err := checkScram(d.Name, d.Mechanism); err != nil {
		return nil, err
	}
	if m.image().Scram(meta.ScramKey{User: d.Name, Mechanism: d.Mechanism}) == nil {
		return nil, refuse(kerr.ResourceNotFound, "Attempt to delete a user credential that does not exist")
	}
	return &kmsg.RemoveUserScramCredentialRecord{Name: d.Name, Mechanism: d.Mechanism}, nil
}

// upsertScram turns the salted password into the two keys that the server keeps (RFC 5802 §3).
func upsertScram(u kmsg.AlterUserScramCredentialsRequestScramCredentialUpsertion) (kmsg.Record, error) {
	if err := checkScram(u.Name, u.Mechanism); err != nil {
		return nil, err
	}
	if u.Iterations < minScramIterations {
		return nil, refuse(kerr.UnacceptableCredential, "Too few iterations")
	}
	if u.Iterations > maxScramIterations {
		return nil, refuse(kerr.UnacceptableCredential, "Too many iterations")
	}
	if len(u.SaltedPassword) == 0 {
		return nil, refuse(kerr.UnacceptableCredential, "The salted password is empty")
	}
	return scramRecord(u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword), nil
}

// scramRecord is a credential without its password, from which it cannot be had back.
func scramRecord(user string, mechanism int8, iterations int32, salt, saltedPassword []byte) *kmsg.UserScramCredentialRecord {
	h := scramHash(mechanism)
	mac := func(text string) []byte {
		w := hmac.New(h, saltedPassword)
		w.Write([]byte(text))
		return w.Sum(nil)
	}
	stored := h()
	stored.Write(mac("Client Key"))
	return &kmsg.UserScramCredentialRecord{
		Name: user, Mechanism: mechanism, Salt: append([]byte(nil), salt...),
		StoredKey: stored.Sum(nil), ServerKey: mac("Server Key"), Iterations: iterations,
	}
}

// ScramMechanism is the number of a SCRAM mechanism, 0 for a name that is none.
func ScramMechanism(name string) int8 {
	switch name {
	case "SCRAM-SHA-256":
		return 1
	case "SCRAM-SHA-512":
		return 2
	}
	return 0
}

// SaltPassword is what a client makes of a password (RFC 5802 Hi), for AlterUserScramCredentials.
func SaltPassword(mechanism int8, password string, salt []byte, iterations int) ([]byte, error) {
	h := scramHash(mechanism)
	return pbkdf2.Key(h, password, salt, iterations, h().Size())
}

// ScramCredential is one that kafka-storage --add-scram describes.
type ScramCredential struct {
	User                     string
	Mechanism                int8 // as ScramMechanism numbers it
	Iterations               int32
	Salt                     []byte
	Password, SaltedPassword []byte // one of them
}

// Record is the credential as the metadata keeps it.
func (c *ScramCredential) Record() (*kmsg.UserScramCredentialRecord, error) {
	if err := checkScram(c.User, c.Mechanism); err != nil {
		return nil, err
	}
	if c.Iterations < minScramIterations || c.Iterations > maxScramIterations {
		return nil, fmt.Errorf("%d iterations: want %d to %d", c.Iterations, minScramIterations, maxScramIterations)
	}
	salted := c.SaltedPassword
	if len(salted) == 0 {
		var err error
		if salted, err = SaltPassword(c.Mechanism, string(c.Password), c.Salt, int(c.Iterations)); err != nil {
			return nil, err
		}
	}
	return scramRecord(c.User, c.Mechanism, c.Iterations, c.Salt, salted), nil
}
