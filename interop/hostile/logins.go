package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/logstead/logstead/interop/local"
)

const (
	badLogins  = 1000
	slowLogins = 300
	loginTime  = 3 * time.Second // logstead.sasl.handshake.timeout.ms of the run
	loginGrace = 7 * time.Second // more, for a busy machine
	firstBytes = 512 << 10       // sasl.server.max.receive.size
)

// request writes a request with its size.
func request(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, 1)
}

func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

// logins attacks the listener at which clients log in: nobody may get in, every connection ends within the time for a login, and a
// client that behaves logs in meanwhile.
func (h *hostile) logins(ctx context.Context) error {
	if h.login == "" {
		h.report.Note("logins: not run, for the broker was given by address")
		return nil
	}
	var seed atomic.Uint64
	var in atomic.Int32
	err := several(ctx, h.login, badLogins, func(c net.Conn) error {
		rng := rand.New(rand.NewPCG(h.o.seed, seed.Add(1)))
		if err := badLogin(c, rng); err != nil {
			return nil //nolint:nilerr // the broker has closed it, as it should
		}
		if _, err := c.Write(request(kmsg.NewPtrMetadataRequest(), 1)); err == nil && !ends(c) {
			in.Add(1)
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	h.report.That("nobody gets in with garbage", in.Load() == 0, "%d logins, %d connections that stayed", badLogins, in.Load())

	began := time.Now()
	var open atomic.Int32
	var took error
	err = several(ctx, h.login, slowLogins, func(c net.Conn) error {
		if !slowLogin(ctx, c, seed.Add(1)) {
			open.Add(1)
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	h.report.That("slow logins end", open.Load() == 0, "%d connections, %d open after %.1f s", slowLogins, open.Load(), time.Since(began).Seconds())

	cl, err := kgo.NewClient(kgo.SeedBrokers(h.login), kgo.SASL(plain.Auth{User: local.LoginUser, Pass: local.LoginPassword}.AsMechanism()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ping, cancel := context.WithTimeout(ctx, loginGrace)
	defer cancel()
	took = cl.Ping(ping)
	h.report.That("a good login beside", took == nil, "error %v", took)
	m, err := h.node.Metrics(ctx)
	if err != nil {
		return err
	}
	waiting := m[`logstead_server_logins_waiting{listener="LOGIN"}`]
	failed := m[`kafka_server_socket_server_metrics_failed_authentication_total{listener="LOGIN"}`]
	late := m[`logstead_server_logins_late_total{listener="LOGIN"}`]
	h.report.That("logins are counted", waiting == 0 && failed > 0 && late > 0, "%.0f wait, %.0f failed, %.0f too late", waiting, failed, late)
	return nil
}

// ends says whether the broker ends a connection without another answer that is not an error of the login.
func ends(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(loginTime + loginGrace))
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	return !(errors.As(err, &ne) && ne.Timeout())
}

// badLogin sends one of many wrong beginnings.
func badLogin(c net.Conn, rng *rand.Rand) error {
	garbage := make([]byte, rng.IntN(2000))
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	mechanism := local.LoginMechanisms[rng.IntN(len(local.LoginMechanisms))]
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Mechanism = mechanism
	version := int16(rng.IntN(2))
	switch rng.IntN(6) {
	case 0:
		_, err := c.Write(sized(garbage))
		return err
	case 1:
		_, err := c.Write(garbage)
		return err
	case 2:
		hello.Mechanism = string(garbage)
	case 3: // a whole request that is not for those who are out
		_, err := c.Write(request(kmsg.NewPtrListGroupsRequest(), 0))
		return err
	}
	if _, err := c.Write(request(hello, version)); err != nil {
		return err
	}
	if hello.Mechanism != mechanism {
		return nil
	}
	if err := answer(c); err != nil {
		return err
	}
	token := slices.Concat([]byte("n,,n=ana,r="), garbage)
	if rng.IntN(2) == 0 {
		token = slices.Concat([]byte{0}, []byte(local.LoginUser), []byte{0}, garbage)
	}
	for range 3 {
		b := sized(token)
		if version == 1 {
			auth := kmsg.NewPtrSASLAuthenticateRequest()
			auth.SASLAuthBytes = token
			b = request(auth, 1)
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		if err := answer(c); err != nil {
			return err
		}
		token = slices.Concat([]byte("c=biws,r="), garbage, []byte(",p=AAAA"))
	}
	return nil
}

// slowLogin takes longer to log in than it may, in one of three ways, and says whether the connection was ended.
func slowLogin(ctx context.Context, c net.Conn, n uint64) bool {
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Mechanism = "PLAIN"
	switch n % 3 {
	case 0: // silence
	case 1: // the largest request that it may send, and little of it
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, firstBytes), make([]byte, 20<<10)...)); err != nil {
			return true
		}
	default: // a byte at a time
		for end := time.Now().Add(loginTime + loginGrace); time.Now().Before(end) && ctx.Err() == nil; {
			for _, b := range request(hello, 1) {
				if _, err := c.Write([]byte{b}); err != nil {
					return true
				}
				pause(ctx, 200*time.Millisecond)
			}
		}
		return false
	}
	return ends(c)
}

// loginSettings are those of the node under attack.
func loginSettings(listeners, addr string) []string {
	return append(local.LoginSettings(listeners, addr), fmt.Sprintf("logstead.sasl.handshake.timeout.ms=%d", loginTime.Milliseconds()),
		"connection.failed.authentication.delay.ms=20")
}
