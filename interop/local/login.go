package local

import (
	"fmt"
	"net"
	"strings"
)

// LoginUser may log in by PLAIN at the listener of LoginSettings, and LoginOther too.
const (
	LoginUser, LoginPassword       = "ana", "p=a,ss w0rd"
	LoginOther, LoginOtherPassword = "eva", "other"
)

// The Java classes that JAAS texts name.
const (
	PlainModule = "org.apache.kafka.common.security.plain.PlainLoginModule"
	ScramModule = "org.apache.kafka.common.security.scram.ScramLoginModule"
)

// LoginMechanisms are those of the listener.
var LoginMechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}

// LoginSettings are a node's, logstead or Apache Kafka, that is to have a listener named LOGIN at an address, at which clients log in,
// beside those that it has: NAME://HOST:PORT,...
func LoginSettings(listeners, addr string) []string {
	s := []string{
		"listeners=" + listeners + ",LOGIN://" + addr,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
		"inter.broker.listener.name=PLAINTEXT",
		"listener.name.login.sasl.enabled.mechanisms=" + strings.Join(LoginMechanisms, ","),
		fmt.Sprintf(`listener.name.login.plain.sasl.jaas.config=%s required user_%s="%s" user_%s="%s";`, PlainModule,
			LoginUser, LoginPassword, LoginOther, LoginOtherPassword),
	}
	for _, m := range LoginMechanisms[1:] {
		s = append(s, "listener.name.login."+strings.ToLower(m)+".sasl.jaas.config="+ScramModule+" required;")
	}
	return s
}

// Listeners are those of the node where nobody sets others.
func (n *Node) Listeners() string { return "PLAINTEXT://" + n.Addr }

// Listeners are those of the node where nobody sets others.
func (k *Kafka) Listeners() string {
	host, port, _ := net.SplitHostPort(k.Addr)
	number := 0
	_, _ = fmt.Sscan(port, &number)
	return fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s:%d", k.Addr, host, number+1)
}

// FreeAddr is an address on loopback that is free now.
func FreeAddr() (string, error) {
	a, _, err := lowAddrs(nil)
	return a, err
}
