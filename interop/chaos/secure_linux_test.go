package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

// TestANodeBeginsWithWhatItTrusts: once another authority has signed for all, the store that a node's properties name is signed by it
// too, also where the node has been given another store meanwhile. One that begins with its properties would not start else.
func TestANodeBeginsWithWhatItTrusts(t *testing.T) {
	s, err := newSecurity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	nd := &node{id: 1, host: &host{id: 1}, dir: t.TempDir()}
	if err := s.equip(nd); err != nil {
		t.Fatal(err)
	}
	named := s.store(nd, false)
	other, err := s.issue(nd, false)
	if err != nil {
		t.Fatal(err)
	}
	s.installed(nd, false, other)
	s.mu.signing = 1
	if err := s.overwrite(nd, false); err != nil {
		t.Fatal(err)
	}
	if err := s.setTrust(nd, 1); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	trust, err := os.ReadFile(nd.trustFile())
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(trust)
	for _, store := range []string{named, other} {
		pair, err := tls.LoadX509KeyPair(store, store)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
			t.Errorf("%s: %v", store, err)
		}
		if got, want := pair.Leaf.SerialNumber.Bytes(), s.wanted(nd, false); string(got) != string(want) {
			t.Errorf("%s holds certificate %x, want %x", store, got, want)
		}
	}
}
