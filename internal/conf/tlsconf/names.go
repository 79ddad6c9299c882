package tlsconf

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

var protocolNames = []struct {
	name    string
	version uint16
}{
	{"TLSv1", tls.VersionTLS10}, {"TLSv1.1", tls.VersionTLS11}, {"TLSv1.2", tls.VersionTLS12}, {"TLSv1.3", tls.VersionTLS13},
}

// versions is what protocols and suites leave of TLS, and the suites for TLS 1.2 and before.
type versions struct {
	low, high uint16
	suites    []uint16 // nil for the default
	loose     []string // suites of TLS 1.3 that are offered beside those named
}

// versions resolves ssl.enabled.protocols and ssl.cipher.suites.
func (o Options) versions() (v versions, err error) {
	if v.low, v.high, err = protocolRange(o.Protocols); err != nil || len(o.Suites) == 0 {
		return v, err
	}
	var named13 []string
	v.suites = []uint16{}
	for _, name := range o.Suites {
		s, err := suite(name)
		if err != nil {
			return v, err
		}
		if slices.Contains(s.SupportedVersions, tls.VersionTLS13) {
			named13 = append(named13, name)
		} else {
			v.suites = append(v.suites, s.ID)
		}
	}
	if len(named13) == 0 {
		v.high = min(v.high, tls.VersionTLS12)
	}
	if len(v.suites) == 0 {
		v.low = max(v.low, tls.VersionTLS13)
	}
	if v.low > v.high {
		return v, fmt.Errorf("ssl.cipher.suites %s has none for ssl.enabled.protocols %s: name a suite for one of them, or leave the "+
			"suites out", strings.Join(o.Suites, ","), strings.Join(o.Protocols, ","))
	}
	if len(named13) > 0 {
		for _, s := range tls.CipherSuites() {
			if slices.Contains(s.SupportedVersions, tls.VersionTLS13) && !slices.Contains(named13, s.Name) {
				v.loose = append(v.loose, s.Name)
			}
		}
	}
	return v, nil
}

// protocolRange is the oldest and the newest of the protocols. crypto/tls knows no gap between them.
func protocolRange(names []string) (low, high uint16, err error) {
	on := make([]bool, len(protocolNames))
	for _, name := range names {
		i := slices.IndexFunc(protocolNames, func(p struct {
			name    string
			version uint16
		}) bool {
			return p.name == name
		})
		if i < 0 {
			return 0, 0, fmt.Errorf("ssl.enabled.protocols names %s: served are TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3", name)
		}
		on[i] = true
	}
	first := slices.Index(on, true)
	if first < 0 {
		return 0, 0, fmt.Errorf("ssl.enabled.protocols is empty: name TLSv1.2, TLSv1.3 or both")
	}
	last := len(on) - 1
	for !on[last] {
		last--
	}
	if gap := slices.Index(on[first:last], false); gap >= 0 {
		return 0, 0, fmt.Errorf("ssl.enabled.protocols is %s: %s lies between and is missing; name it too, or one side only",
			strings.Join(names, ","), protocolNames[first+gap].name)
	}
	return protocolNames[first].version, protocolNames[last].version, nil
}

// suite finds a cipher suite by its name at IANA, which is Java's too. RC4 and 3DES are not served, as Java has them switched
// off.
func suite(name string) (*tls.CipherSuite, error) {
	var known []string
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if strings.Contains(s.Name, "_RC4_") || strings.Contains(s.Name, "_3DES_") {
			continue
		}
		if s.Name == name {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return nil, fmt.Errorf("ssl.cipher.suites names %s, which is not served: served are %s", name, strings.Join(known, ", "))
}

// LooseSuites are the cipher suites of TLS 1.3 that are offered though ssl.cipher.suites does not name them: crypto/tls has
// no way to leave one of its three out.
func (o Options) LooseSuites() []string {
	v, _ := o.versions()
	return v.loose
}
