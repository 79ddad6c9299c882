package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/logstead/logstead/interop/local"
)

// loginPlain is the token of PLAIN.
func loginPlain(user, password string) string { return "\x00" + user + "\x00" + password }

// The user of SCRAM is the first step's; its salted password is made here, so that both sides are sent the same.
const (
	scramUser, scramPassword = "scram-user", "geheim"
	scramSalt                = "salt of the suite"
)

// loginStep is a step at the listener with logins, on a connection of its own name.
func loginStep(conn string, st step) step {
	return on(conn, st).with(func(s *step) { s.gate, s.words = true, true })
}

// handshake names a mechanism. The mechanisms are told in the order of a hash set there.
func handshake(conn, name, mechanism string, version int16) step {
	st := ask(name, version, kmsg.NewPtrSASLHandshakeRequest, func(_ *vars, r *kmsg.SASLHandshakeRequest) { r.Mechanism = mechanism })
	st.blank = func(_ *vars, r kmsg.Response) { slices.Sort(r.(*kmsg.SASLHandshakeResponse).SupportedMechanisms) }
	return loginStep(conn, st)
}

// token sends a token of a mechanism in its request.
func token(conn, name string, version int16, text string) step {
	return loginStep(conn, ask(name, version, kmsg.NewPtrSASLAuthenticateRequest, func(_ *vars, r *kmsg.SASLAuthenticateRequest) {
		r.SASLAuthBytes = []byte(text)
	}))
}

// bareToken sends a token as a frame of its own; without an answer the connection is to be closed.
func bareToken(conn, name, text string) step {
	st := step{name: name, bare: true, raw: func(*vars) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	}}
	return loginStep(conn, st)
}

// closes is a step after which the connection is to be gone: what is sent gets no answer.
func closes(conn, name string) step {
	return loginStep(conn, ask(name, 0, kmsg.NewPtrApiVersionsRequest))
}

// scramLogin is a login by SCRAM with franz-go's half of it, which is kept between the steps.
type scramLogin struct {
	mechanism sasl.Mechanism
	session   sasl.Session
	next      []byte
}

var scramShape = regexp.MustCompile(`^r=[^,]+,s=[^,]+,i=(\d+)$|^v=[^,]+$`)

// scramSteps are the two messages of SCRAM; change may falsify them.
func scramSteps(conn, name, mechanism, user, password string, change func(n int, msg []byte) []byte) []step {
	key := "scram " + conn + name
	login := func(v *vars) *scramLogin {
		l, _ := v.kept[key].(*scramLogin)
		if l == nil {
			a := scram.Auth{User: user, Pass: password, Nonce: []byte("a-nonce-of-the-suite")}
			l = &scramLogin{mechanism: a.AsSha256Mechanism()}
			if mechanism == "SCRAM-SHA-512" {
				l.mechanism = a.AsSha512Mechanism()
			}
			l.session, l.next, _ = l.mechanism.Authenticate(context.Background(), "") // it fails without user or password only
			v.kept[key] = l
		}
		return l
	}
	message := func(n int) step {
		st := ask(name+[]string{": first message", ": final message"}[n], 2, kmsg.NewPtrSASLAuthenticateRequest,
			func(v *vars, r *kmsg.SASLAuthenticateRequest) {
				if r.SASLAuthBytes = login(v).next; change != nil {
					r.SASLAuthBytes = change(n, r.SASLAuthBytes)
				}
			})
		st.blank = func(v *vars, r kmsg.Response) {
			resp, _ := r.(*kmsg.SASLAuthenticateResponse)
			l := login(v)
			if resp.ErrorCode == 0 {
				_, next, err := l.session.Challenge(resp.SASLAuthBytes)
				if l.next = next; err != nil {
					l.next = []byte("the client refuses: " + err.Error())
				}
			}
			if m := scramShape.FindSubmatch(resp.SASLAuthBytes); m != nil {
				resp.SASLAuthBytes = append([]byte("as it should be, iterations "), m[1]...)
			}
		}
		return loginStep(conn, st)
	}
	return []step{message(0), message(1)}
}

// loginScenarios log in at a listener that asks for it, and try what it may not let them.
func loginScenarios() []scenario {
	software := func(_ *vars, r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName, r.ClientSoftwareVersion = "diff", "1" }
	versions := func(conn string, version int16) step {
		return loginStep(conn, ask("ApiVersions", version, kmsg.NewPtrApiVersionsRequest, software)).with(func(s *step) { s.words = false })
	}
	metadata := func(conn, name string) step {
		return loginStep(conn, ask(name, 9, kmsg.NewPtrMetadataRequest, func(_ *vars, r *kmsg.MetadataRequest) { r.Topics = []kmsg.MetadataRequestTopic{} }))
	}
	ana := loginPlain(local.LoginUser, local.LoginPassword)
	return []scenario{
		{"login-plain", concat(
			[]step{
				versions("a", 3), handshake("a", "handshake", "PLAIN", 1), token("a", "login v0", 0, ana), metadata("a", "served"),
				handshake("b", "handshake", "PLAIN", 1), token("b", "login v2", 2, ana), metadata("b", "served"),
				token("b", "a token when in", 2, ana), metadata("b", "still served"),
				handshake("c", "handshake v0", "PLAIN", 0), bareToken("c", "a bare token", ana), metadata("c", "served"),
				handshake("d", "handshake v0", "PLAIN", 0), bareToken("d", "a bare token that is wrong", loginPlain(local.LoginUser, "x")),
			},
			wrongPlain("e", "a wrong password", loginPlain(local.LoginUser, "wrong")),
			wrongPlain("f", "an unknown user", loginPlain("nobody", "wrong")),
			wrongPlain("g", "no user", loginPlain("", "x")),
			wrongPlain("h", "no password", loginPlain(local.LoginUser, "")),
			wrongPlain("i", "another authorization id", "other"+ana),
			wrongPlain("j", "its own authorization id", local.LoginUser+ana),
			wrongPlain("k", "no separators", "nonsense"),
			wrongPlain("l", "four parts", ana+"\x00x"),
			wrongPlain("m", "nothing", ""),
			wrongPlain("n", "no UTF-8", "\x00\xff\x00\xfe"),
		)},
		{"login-order", []step{
			handshake("a", "a mechanism that is off", "OAUTHBEARER", 1), closes("a", "closed"),
			handshake("b", "no mechanism", "", 1), handshake("c", "a mechanism in small letters", "plain", 1),
			handshake("d", "handshake", "PLAIN", 1), handshake("d", "handshake again", "PLAIN", 1), closes("d", "closed"),
			versions("e", 3), handshake("e", "handshake", "SCRAM-SHA-256", 1), versions("e", 3).with(func(s *step) { s.name = "ApiVersions for a token" }), closes("e", "closed"),
			metadata("f", "Metadata first"),
			versions("g", 0), metadata("g", "Metadata after ApiVersions"),
			versions("h", 3), versions("h", 3).with(func(s *step) { s.name = "ApiVersions again" }),
			token("i", "a token first", 2, ana),
			loginStep("j", rawStep("ApiVersions of the future", frameOf(18, 99), func() kmsg.Request { r := kmsg.NewPtrApiVersionsRequest(); r.SetVersion(0); return r }())),
			handshake("j", "handshake after that", "PLAIN", 1), token("j", "login", 1, ana),
			loginStep("k", ask("a bad software name", 3, kmsg.NewPtrApiVersionsRequest)), handshake("k", "handshake after that", "PLAIN", 1),
			loginStep("l", rawStep("half a header", []byte{0, 0, 0, 3, 0, 18, 0}, nil)),
			loginStep("m", rawStep("an unknown key", frameOf(200, 0), nil)),
			loginStep("n", rawStep("a handshake of the future", frameOf(17, 9), nil)),
			loginStep("o", rawStep("too large a frame", []byte{0, 8, 0, 1}, nil)),
			loginStep("p", rawStep("a negative size", []byte{0xff, 0xff, 0xff, 0xff}, nil)),
			loginStep("q", rawStep("an empty frame", []byte{0, 0, 0, 0}, nil)),
			loginStep("r", rawStep("HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), nil)),
			loginStep("s", rawStep("a handshake cut off", frameOf(17, 1, 0, 9, 'P'), nil)),
		}},
		{"login-scram", concat(
			[]step{quietly(ask("make a user", 0, kmsg.NewPtrAlterUserSCRAMCredentialsRequest, scramCredential(1))),
				quietly(ask("and for the other hash", 0, kmsg.NewPtrAlterUserSCRAMCredentialsRequest, scramCredential(2)))},
			scramTry("a", "SCRAM-SHA-256", scramUser, scramPassword, nil), []step{metadata("a", "served")},
			scramTry("b", "SCRAM-SHA-512", scramUser, scramPassword, nil), []step{metadata("b", "served by the other")},
			scramTry("c", "SCRAM-SHA-256", scramUser, "wrong", nil), []step{closes("c", "closed")},
			scramTry("d", "SCRAM-SHA-512", "nobody", "wrong", nil),
			scramTry("e", "SCRAM-SHA-256", scramUser, scramPassword, func(n int, msg []byte) []byte {
				return map[int][]byte{0: msg, 1: slices.Concat(msg[:10], []byte("x"), msg[10:])}[n]
			}),
			scramTry("f", "SCRAM-SHA-256", scramUser, scramPassword, func(int, []byte) []byte { return []byte("nonsense") })[:2],
			scramTry("g", "SCRAM-SHA-256", scramUser, scramPassword, func(n int, msg []byte) []byte {
				return map[int][]byte{0: msg, 1: []byte("nonsense")}[n]
			}),
			scramTry("h", "SCRAM-SHA-256", scramUser, scramPassword, func(n int, msg []byte) []byte {
				return map[int][]byte{0: slices.Concat([]byte("n,a=other,"), msg[3:]), 1: msg}[n]
			})[:2],
			[]step{quietly(ask("forget the user", 0, kmsg.NewPtrAlterUserSCRAMCredentialsRequest, func(v *vars, r *kmsg.AlterUserSCRAMCredentialsRequest) {
				d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
				d.Name, d.Mechanism = scramUser, 1
				r.Deletions = append(r.Deletions, d)
			}))},
		)},
		{"login-again", []step{
			handshake("a", "handshake", "PLAIN", 1), token("a", "login", 2, ana), metadata("a", "served"),
			handshake("a", "handshake again", "PLAIN", 1), token("a", "login again", 2, ana), metadata("a", "served on"),
			handshake("a", "a third time at once", "PLAIN", 1), metadata("a", "served still"),
			handshake("b", "handshake", "PLAIN", 1), token("b", "login", 1, ana),
			handshake("b", "handshake again", "PLAIN", 1), token("b", "as another user", 1, loginPlain(local.LoginOther, local.LoginOtherPassword)), closes("b", "closed"),
			handshake("c", "handshake", "PLAIN", 1), token("c", "login", 2, ana),
			handshake("c", "by another mechanism", "SCRAM-SHA-256", 1), token("c", "a token of it", 2, "n,,n=ana,r=abc"),
			handshake("d", "handshake", "PLAIN", 1), token("d", "login", 2, ana),
			handshake("d", "by what is off", "GSSAPI", 1),
			handshake("e", "handshake", "PLAIN", 1), token("e", "login", 2, ana),
			handshake("e", "handshake again", "PLAIN", 1), token("e", "a wrong password", 2, loginPlain(local.LoginUser, "x")), closes("e", "closed"),
			handshake("f", "handshake", "PLAIN", 1), token("f", "login", 2, ana),
			handshake("f", "handshake again", "PLAIN", 1), metadata("f", "Metadata for a token"),
			handshake("g", "handshake", "PLAIN", 1), token("g", "login", 2, ana),
			handshake("g", "handshake v0 again", "PLAIN", 0), bareToken("g", "a bare token", ana), metadata("g", "served"),
		}},
	}
}

// wrongPlain is a handshake and a token by PLAIN, and what comes of the connection.
func wrongPlain(conn, name, text string) []step {
	return []step{handshake(conn, name+": handshake", "PLAIN", 1), token(conn, name, 2, text), closes(conn, name+": closed")}
}

func scramTry(conn, mechanism, user, password string, change func(int, []byte) []byte) []step {
	return append([]step{handshake(conn, conn+": handshake", mechanism, 1)}, scramSteps(conn, conn, mechanism, user, password, change)...)
}

// scramCredential makes the user's.
func scramCredential(mechanism int8) func(*vars, *kmsg.AlterUserSCRAMCredentialsRequest) {
	return func(_ *vars, r *kmsg.AlterUserSCRAMCredentialsRequest) {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt = scramUser, mechanism, 4096, []byte(scramSalt)
		var h func() hash.Hash = sha256.New
		if mechanism == 2 {
			h = sha512.New
		}
		u.SaltedPassword, _ = pbkdf2.Key(h, scramPassword, u.Salt, 4096, h().Size()) // its errors are of FIPS
		r.Upsertions = append(r.Upsertions, u)
	}
}
