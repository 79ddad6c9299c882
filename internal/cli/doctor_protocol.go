package cli

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// checkProtocol finds out what the port speaks, whatever the settings say it should.
func (d *doctor) checkProtocol(addr string) bool {
	conf, err := d.set.tlsConfig()
	if err != nil {
		d.fail("tls", addr, err.Error(), "correct the TLS settings")
		return false
	}
	if conf != nil {
		return d.checkTLS(addr, conf) && d.checkVersions(addr, conf)
	}
	return d.checkVersions(addr, nil)
}

func (d *doctor) checkTLS(addr string, conf *tls.Config) bool {
	begin := d.app.Now()
	c, err := d.dialTLS(addr, conf)
	if err != nil {
		fix := dialFix(err, addr)
		if strings.HasPrefix(fix, "-b") {
			fix = "check ssl.ca.location, the certificate and its names"
		}
		d.fail("tls", addr, dialReason(err), fix)
		return false
	}
	defer c.Close()
	cs := c.ConnectionState()
	cert := cs.PeerCertificates[0]
	detail := fmt.Sprintf("%s, certificate of %s, valid until %s", tls.VersionName(cs.Version),
		firstOf(cert.Subject.CommonName, strings.Join(cert.DNSNames, ",")),
		cert.NotAfter.UTC().Format(time.DateOnly))
	if left := cert.NotAfter.Sub(d.app.Now()); left < 30*24*time.Hour {
		d.warn("tls", addr, detail, fmt.Sprintf("renew the certificate: it ends in %s", humanDuration(left)))
		return true
	}
	d.ok("tls", addr, detail, d.app.Now().Sub(begin))
	return true
}

func (d *doctor) dialTLS(addr string, conf *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout())
	defer cancel()
	c, err := tlsDialer(&net.Dialer{Timeout: d.timeout()}, conf)(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// checkVersions asks the first question of every Kafka client.
func (d *doctor) checkVersions(addr string, conf *tls.Config) bool {
	begin := d.app.Now()
	resp, err := d.askVersions(addr, conf)
	if err == nil && !hasAPI(resp, kmsg.Metadata) {
		d.fail("protocol", addr, "this is a controller's port, which clients cannot use",
			"use the port of a broker's listener, usually 9092")
		return false
	}
	if err == nil {
		d.ok("protocol", addr, fmt.Sprintf("speaks Kafka, %s", countOf(len(resp.ApiKeys), "request type")),
			d.app.Now().Sub(begin))
		return true
	}
	if conf == nil && d.speaksTLS(addr) {
		d.fail("protocol", addr, "the port speaks TLS, and the client did not",
			"-X security.protocol=SSL (or SASL_SSL), with -X ssl.ca.location=ca.pem if the authority is your own")
		return false
	}
	if d.speaksHTTP(addr) {
		d.fail("protocol", addr, "the port speaks HTTP: it is a console, a registry or metrics",
			"use the port of the Kafka listener, usually 9092")
		return false
	}
	why := innermost(err)
	if errors.Is(err, io.EOF) {
		why = "the connection was closed at the first request"
	}
	d.fail("protocol", addr, why, "is it a Kafka listener, and not the controller's or another program's port?")
	return false
}

func hasAPI(resp *kmsg.ApiVersionsResponse, key kmsg.Key) bool {
	for _, k := range resp.ApiKeys {
		if k.ApiKey == key.Int16() {
			return true
		}
	}
	return false
}

// askVersions sends ApiVersions version 0, which every broker answers, before any login.
func (d *doctor) askVersions(addr string, conf *tls.Config) (*kmsg.ApiVersionsResponse, error) {
	var c net.Conn
	var err error
	if conf != nil {
		c, err = d.dialTLS(addr, conf)
	} else {
		c, err = net.DialTimeout("tcp", addr, d.timeout())
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(d.timeout())); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	out := kmsg.NewRequestFormatter(kmsg.FormatterClientID("logstead-doctor")).AppendRequest(nil, req, 1)
	if _, err := c.Write(out); err != nil {
		return nil, err
	}
	body, err := readFrame(c)
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.SetVersion(0)
	return resp, resp.ReadFrom(body)
}

// readFrame reads one answer and drops its correlation id.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(size[:]))
	if n < 4 || n > 1<<20 {
		return nil, fmt.Errorf("the answer is not Kafka's (it begins with % x)", size)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return body[4:], nil
}

func (d *doctor) speaksTLS(addr string) bool {
	c, err := d.dialTLS(addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (d *doctor) speaksHTTP(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, d.timeout())
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	head := make([]byte, 5)
	_, err = io.ReadFull(c, head)
	return err == nil && string(head) == "HTTP/"
}
