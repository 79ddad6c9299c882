package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/logstead/logstead/internal/kit/certs"
)

const (
	// silentClients is more than the handshakes that run at a time, of which each ends after handshakeTime at the latest.
	silentClients = 1500
	handshakeTime = 4 * time.Second
	garbageHellos = 500
	// sessionBytes is what an idle TLS session may cost, garbage included.
	sessionBytes = 48 << 10
)

// encrypted is the broker's listener for TLS, nil where the target was given by address.
type encrypted struct {
	addr   string
	client *tls.Config
}

// encrypt gives the broker, before it is started, a listener for TLS.
func (h *hostile) encrypt(dir string) error {
	now := time.Now()
	ca, err := certs.NewAuthority(certs.Subject{Name: pkix.Name{CommonName: "authority"}, From: now.Add(-time.Hour), Until: now.Add(24 * time.Hour)})
	if err != nil {
		return err
	}
	own, err := ca.Issue(certs.Subject{Name: pkix.Name{CommonName: "broker"}, Hosts: []string{"127.0.0.1"}, From: now.Add(-time.Hour), Until: now.Add(24 * time.Hour)})
	if err != nil {
		return err
	}
	key, err := own.KeyPEM()
	if err != nil {
		return err
	}
	store := filepath.Join(dir, "broker.pem")
	if err := os.WriteFile(store, append(key, own.CertificatePEM()...), 0o600); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.tls = &encrypted{addr: l.Addr().String(), client: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}}
	h.tls.client.RootCAs.AddCert(ca.Certificate)
	h.node.Set = append(h.node.Set, "listeners=PLAINTEXT://"+h.node.Addr+",SSL://"+h.tls.addr, "ssl.keystore.type=PEM",
		"ssl.keystore.location="+store, fmt.Sprintf("logstead.tls.handshake.timeout.ms=%d", handshakeTime.Milliseconds()))
	return l.Close()
}

// sessions holds TLS sessions that do nothing, and looks at what they cost.
func (h *hostile) sessions(ctx context.Context) error {
	if h.tls == nil {
		return nil
	}
	before, err := h.memory(ctx)
	if err != nil {
		return err
	}
	return several(ctx, h.tls.addr, h.o.idle, h.session, func() {
		pause(ctx, heldTime)
		after, err := h.memory(ctx)
		if err != nil {
			h.report.Check("memory of TLS sessions", err)
			return
		}
		each := (after - before) / float64(h.o.idle)
		h.report.That("an idle TLS session is small", each < sessionBytes, "%d sessions, %.1f KiB each", h.o.idle, each/1024)
	})
}

// handshakes opens connections that never finish their TLS handshake, more than there is room for, and others that send
// garbage. A client that behaves gets through, and no connection of the others is kept.
func (h *hostile) handshakes(ctx context.Context) error {
	if h.tls == nil {
		return nil
	}
	began := time.Now()
	var wg sync.WaitGroup
	kept := make(chan error, silentClients)
	for i := range silentClients {
		c, err := connect(ctx, h.tls.addr)
		if err != nil {
			return fmt.Errorf("silent client %d: %w", i, err)
		}
		wg.Go(func() {
			defer c.Close()
			if i%2 == 0 { // the other half sends the beginning of a record, byte by byte
				for _, b := range []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3} {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					pause(ctx, handshakeTime/10)
				}
			}
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				kept <- err
			}
		})
	}
	err := h.askOverTLS(ctx)
	took := time.Since(began)
	wg.Wait()
	close(kept)
	h.report.That("a client gets through beside silent ones", err == nil, "%d of them, %.1f s, %v", silentClients, took.Seconds(), err)
	h.report.That("a silent handshake ends", len(kept) == 0, "%d of %d were kept for a minute", len(kept), silentClients)
	return errors.Join(h.garbage(ctx), h.askOverTLS(ctx))
}

func (h *hostile) askOverTLS(ctx context.Context) error {
	c, err := connect(ctx, h.tls.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return h.session(c)
}

// session begins a TLS session and asks something in it.
func (h *hostile) session(c net.Conn) error {
	s := tls.Client(c, h.tls.client)
	if err := s.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := s.Write(ask()); err != nil {
		return err
	}
	return answer(s)
}

// garbage sends what begins as TLS and goes on as noise, before and within a session.
func (h *hostile) garbage(ctx context.Context) error {
	rnd := rand.New(rand.NewPCG(h.o.seed, 7))
	for i := range garbageHellos {
		c, err := connect(ctx, h.tls.addr)
		if err != nil {
			return err
		}
		if i%4 == 0 { // within a session: the noise is not of its keys
			s := tls.Client(c, h.tls.client)
			if err := s.HandshakeContext(ctx); err != nil {
				return fmt.Errorf("a session after %d hostile ones: %w", i, err)
			}
		}
		noise := make([]byte, 5+rnd.IntN(600))
		for j := range noise {
			noise[j] = byte(rnd.Uint32())
		}
		if i%3 != 0 {
			copy(noise, []byte{0x14 + byte(i%4), 3, 3, byte((len(noise) - 5) >> 8), byte(len(noise) - 5)})
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write(noise); err == nil {
			if t, ok := c.(*net.TCPConn); ok {
				t.CloseWrite()
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				return errors.New("a connection that sent noise is kept")
			}
		}
		c.Close()
	}
	h.report.Note("%d connections of noise", garbageHellos)
	return nil
}
