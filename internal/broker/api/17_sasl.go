package api

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/proto/kmsg"
	"github.com/logstead/logstead/internal/proto/wire"
)

// SaslHandshake (key 17), versions 0 and 1, and SaslAuthenticate (key 36), versions 0 to 2 (KIP-43, KIP-152, KIP-368).
//
// On a listener without SASL, and on a connection that has logged in, both come at the wrong time: ILLEGAL_SASL_STATE, and
// the connection stays. On a connection that has to log in they are served here, before the table of APIs is looked at:
// SaslHandshake names a mechanism, and what follows are tokens, each in a SaslAuthenticate, or after a handshake of version
// 0 as a frame without a header. ApiVersions may come once before; anything else ends the connection, as a login that
// fails does: connection.failed.authentication.delay.ms later it is answered and closed.
//
//	handshake v1     SaslAuthenticate follows
//	authenticate v1  the session's lifetime, and the same again before that ends (KIP-368)
var (
	_ = register(kmsg.KeySaslHandshake, (*Broker).saslHandshake)
	_ = register(kmsg.KeySaslAuthenticate, (*Broker).saslAuthenticate)
)

func (b *Broker) saslHandshake(c *Call, _ *kmsg.SaslHandshakeRequest) {
	resp := kmsg.NewSaslHandshakeResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	c.Reply(&resp)
}

func (b *Broker) saslAuthenticate(c *Call, _ *kmsg.SaslAuthenticateRequest) {
	resp := kmsg.NewSaslAuthenticateResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	if c.Conn.sasl == nil {
		resp.ErrorMessage = new("this listener has no SASL: SaslAuthenticate must follow a successful SaslHandshake")
	} else {
		resp.ErrorMessage = new("SaslAuthenticate request received after successful authentication")
	}
	c.Reply(&resp)
}

// saslStep is what a connection that has to log in waits for.
type saslStep uint8

const (
	saslFirst saslStep = iota // ApiVersions or SaslHandshake
	saslNamed                 // SaslHandshake: ApiVersions has been
	saslToken                 // a token in a SaslAuthenticate
	saslBare                  // a token without a header
	saslOther                 // a token that is refused: the client is in by another mechanism than it names now
	saslIn                    // requests: the client has logged in
)

// saslSession is how far a connection is with logging in. It belongs to the connection's goroutine.
type saslSession struct {
	gate      *auth.Gate
	settings  *auth.Settings // of the login under way
	step      saslStep
	again     bool   // the client was in before (KIP-368)
	mechanism string // that was agreed on
	exchange  auth.Exchange
	expires   time.Time // end of the session; zero for none
	began     time.Time // when the last login of a client that was in began
}

// minAgain is how long a client has to wait between two logins on the same connection.
const minAgain = time.Second

// RequireLogin has the connection's client log in before anything else is served.
func (c *Conn) RequireLogin(g *auth.Gate) {
	c.sasl = &saslSession{gate: g, settings: g.Settings()}
	g.Waiting(1)
}

// LoggingIn is what bounds a client that has to log in now, or nil.
func (c *Conn) LoggingIn() *auth.Settings {
	if s := c.sasl; s != nil && s.step != saslIn {
		return s.settings
	}
	return nil
}

// LoginCut counts a connection that ended in the middle of a login: late, or because of what its client sent.
func (c *Conn) LoginCut(late bool) {
	if s := c.sasl; late {
		s.gate.Late()
	} else {
		s.gate.Failed(s.again)
	}
}

// Gone hears that the connection has ended.
func (c *Conn) Gone() {
	if s := c.sasl; s != nil && s.step != saslIn && !s.again {
		s.gate.Waiting(-1)
	}
}

// LoginError is a connection that ends because its client did not log in. It may go to a log; what the client may know it
// has been told.
type LoginError struct {
	Mechanism string // empty where none was agreed on
	Err       error
}

func (e *LoginError) Error() string { return e.Err.Error() }
func (e *LoginError) Unwrap() error { return e.Err }

// ErrSessionExpired ends a connection whose client did not log in again in time.
var ErrSessionExpired = errors.New("the session is past connections.max.reauth.ms, and the client did not log in again")

// login serves what belongs to logging in; served is false where the call is one for the table of APIs.
func (b *Broker) login(c *Call) (served bool, err error) {
	s := c.Conn.sasl
	if s.step == saslIn {
		return b.loginAgain(c)
	}
	c.metered = false
	switch {
	case s.step == saslFirst && c.Key == kmsg.KeyApiVersions:
		return false, nil
	case s.step <= saslNamed && c.Key == kmsg.KeySaslHandshake:
		return true, b.handshake(c)
	case s.step <= saslNamed:
		err = fmt.Errorf("%s before the client has logged in", apiName(c.Key))
	case s.step == saslOther:
		err = fmt.Errorf("another SASL mechanism than %s was asked for, by which the client is in", s.mechanism)
	case c.Key == kmsg.KeySaslAuthenticate:
		return true, b.authenticate(c)
	default:
		return true, b.loginFailed(c, illegalState(c.Key), fmt.Errorf("%s in place of SaslAuthenticate", apiName(c.Key)))
	}
	return true, b.loginFailed(c, nil, err)
}

func apiName(key int16) string {
	if a := kmsg.ByKey(key); a != nil {
		return a.Name
	}
	return fmt.Sprintf("api key %d", key)
}

// illegalState is the answer to a request that came where a token was due; nil where none says what it should.
func illegalState(key int16) kmsg.Response {
	switch key {
	case kmsg.KeySaslHandshake:
		resp := kmsg.NewSaslHandshakeResponse()
		resp.ErrorCode = kerr.IllegalSaslState.Code
		return &resp
	case kmsg.KeyApiVersions:
		resp := kmsg.NewApiVersionsResponse()
		resp.ErrorCode = kerr.IllegalSaslState.Code
		return &resp
	}
	return nil
}

// loginAgain looks at a request of a client that is in: its session may be over, and it may begin another (KIP-368).
func (b *Broker) loginAgain(c *Call) (served bool, err error) {
	s := c.Conn.sasl
	switch {
	case s.expires.IsZero():
		return false, nil
	case c.Key == kmsg.KeySaslHandshake && (s.began.IsZero() || c.Start.Sub(s.began) >= minAgain):
		s.began, s.again, s.step, s.settings = c.Start, true, saslNamed, s.gate.Settings()
		c.metered = false
		return true, b.handshake(c)
	case c.Start.After(s.expires):
		s.gate.Expired()
		return true, ErrSessionExpired
	}
	return false, nil
}

// readLogin decodes one of the two requests of a login. Kafka does not answer one that it cannot read.
func readLogin(c *Call, req kmsg.Request) error {
	if own := kmsg.ByKey(c.Key); c.Version < own.Min || c.Version > own.Max {
		return fmt.Errorf("%s version %d: served are %d to %d", own.Name, c.Version, own.Min, own.Max)
	}
	r := kmsg.NewReader(c.Body)
	return req.Read(&r, c.Version)
}

// handshake agrees on a mechanism.
func (b *Broker) handshake(c *Call) error {
	s := c.Conn.sasl
	var req kmsg.SaslHandshakeRequest
	if err := readLogin(c, &req); err != nil {
		return b.loginFailed(c, nil, err)
	}
	resp := kmsg.NewSaslHandshakeResponse()
	resp.Mechanisms = s.settings.Names()
	m := s.settings.Mechanism(req.Mechanism)
	if m == nil {
		err := fmt.Errorf("SASL mechanism %.40q is not enabled", req.Mechanism)
		if s.again { // which Kafka does not answer
			return b.loginFailed(c, nil, err)
		}
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return b.loginFailed(c, &resp, err)
	}
	switch {
	case s.again && m.Name() != s.mechanism:
		s.step = saslOther
	case c.Version == 0:
		s.step = saslBare
	default:
		s.step = saslToken
	}
	if s.step != saslOther {
		s.mechanism, s.exchange = m.Name(), m.Start()
	}
	c.Reply(&resp)
	return nil
}

// authenticate takes a token in a SaslAuthenticate.
func (b *Broker) authenticate(c *Call) error {
	s := c.Conn.sasl
	var req kmsg.SaslAuthenticateRequest
	if err := readLogin(c, &req); err != nil {
		return b.loginFailed(c, nil, err)
	}
	resp := kmsg.NewSaslAuthenticateResponse()
	answer, done, err := s.token(c, req.AuthBytes)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, new(s.told(err))
		return b.loginFailed(c, &resp, err)
	}
	if resp.AuthBytes = answer; answer == nil {
		resp.AuthBytes = []byte{}
	}
	if done {
		resp.SessionLifetimeMs = s.enter(c).Milliseconds()
	}
	c.Reply(&resp)
	return nil
}

// bareToken takes a token that is a whole frame, as it follows a handshake of version 0.
func (b *Broker) bareToken(c *Call, conn *Conn, frame []byte, sink Sink) error {
	*c = Call{
		Conn: conn, Key: kmsg.KeySaslAuthenticate, Start: b.Clock.Now(), broker: b, sink: sink, frameBytes: len(frame),
	}
	s := conn.sasl
	answer, done, err := s.token(c, frame)
	if err != nil {
		return b.loginFailed(c, nil, err)
	}
	if done {
		s.enter(c)
	}
	c.end()
	w := wire.GetWriter()
	w.Buf = append(w.Buf, answer...)
	b.metrics.answered(c, w)
	sink.Send(w)
	return nil
}

// token has the mechanism look at a token. Who was in before must stay who it is.
func (s *saslSession) token(c *Call, token []byte) (answer []byte, done bool, err error) {
	if answer, done, err = s.exchange.Step(token); err != nil || !done || !s.again {
		return answer, done, err
	}
	if was, is := c.Conn.Principal, (auth.Principal{Type: auth.UserType, Name: s.exchange.User()}); was != is {
		return nil, false, &auth.Refusal{Text: fmt.Sprintf("Cannot change principals during re-authentication from %s.%s: %s.%s",
			was.Type, was.Name, is.Type, is.Name)}
	}
	return answer, done, nil
}

// enter lets the client in, and says for how long; 0 is without an end.
func (s *saslSession) enter(c *Call) time.Duration {
	if !s.again {
		c.Conn.Principal = auth.Principal{Type: auth.UserType, Name: s.exchange.User()}
		s.gate.Waiting(-1)
	}
	s.gate.Passed(s.again)
	s.step, s.exchange, s.expires = saslIn, nil, time.Time{}
	life := s.settings.MaxReauth[s.mechanism]
	if life > 0 {
		s.expires = c.Start.Add(life)
	}
	return life
}

// told is what the client hears of a login that failed. But for a Refusal it does not hear why: Kafka has the same words.
func (s *saslSession) told(err error) string {
	var r *auth.Refusal
	if errors.As(err, &r) {
		return r.Text
	}
	what := "authentication"
	if s.again {
		what = "re-authentication"
	}
	return "Authentication failed during " + what + " due to invalid credentials with SASL mechanism " + s.mechanism
}

// loginFailed lets connection.failed.authentication.delay.ms pass and answers, where there is an answer; the error it
// returns closes the connection.
func (b *Broker) loginFailed(c *Call, resp kmsg.Response, cause error) error {
	s := c.Conn.sasl
	s.gate.Failed(s.again)
	if s.settings.FailedDelay > 0 {
		timer := time.NewTimer(s.settings.FailedDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.Conn.Closing():
		}
	}
	if resp != nil {
		c.Reply(resp)
	}
	return &LoginError{s.mechanism, cause}
}
