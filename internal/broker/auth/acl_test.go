package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// image is one with these entries.
func image(t testing.TB, acls ...meta.ACL) *meta.Image {
	t.Helper()
	e := meta.Empty("cluster").Edit()
	for i, a := range acls {
		if err := e.Apply(&kmsg.AccessControlEntryRecord{
			Id: base.TopicID{14: byte(i >> 8), 15: byte(i)}, ResourceType: int8(a.ResourceType), ResourceName: a.ResourceName,
			PatternType: int8(a.PatternType), Principal: a.Principal, Host: a.Host,
			Operation: int8(a.Operation), PermissionType: int8(a.PermissionType),
		}); err != nil {
			t.Fatal(err)
		}
	}
	im, _ := e.Image(0, 0)
	return im
}

func acl(res Resource, pattern meta.ACLPattern, name, who, host string, op Operation, permission meta.ACLPermission) meta.ACL {
	return meta.ACL{
		ResourceType: res, PatternType: pattern, ResourceName: name, Principal: who, Host: host, Operation: op, PermissionType: permission,
	}
}

const (
	literal, prefixed = meta.ACLLiteral, meta.ACLPrefixed
	allow, deny       = meta.ACLAllow, meta.ACLDeny
)

func authorizer(t testing.TB, o Options, acls ...meta.ACL) *Authorizer {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := NewAuthorizer(o)
	a.Update(image(t, acls...))
	return a
}

func subject(name, host string) Subject {
	return Subject{Principal{UserType, name}, netip.MustParseAddr(host), "Produce"}
}

func TestAuthorizer(t *testing.T) {
	a := authorizer(t, Options{SuperUsers: []Principal{{UserType, "root"}}},
		acl(Topic, literal, "orders", "User:ana", "*", Write, allow),
		acl(Topic, prefixed, "logs-", "User:*", "10.0.0.1", Read, allow),
		acl(Topic, prefixed, "logs-secret", "User:eve", "*", Read, deny),
		acl(Topic, literal, "*", "User:bob", "*", meta.ACLAll, allow),
		acl(Topic, literal, "orders", "User:bob", "*", Delete, deny),
		acl(Group, literal, "g", "User:ana", "0:0:0:0:0:0:0:1", Read, allow),
		acl(Topic, literal, "conf", "User:ana", "*", AlterConfigs, allow),
		acl(Topic, literal, "denied", "User:ana", "*", Read, deny),
		acl(Topic, literal, "denied", "User:ana", "*", Describe, allow),
		acl(Topic, literal, "hosted", "User:ana", "example.org", Read, allow),
	)
	for _, tc := range []struct {
		who, host string
		op        Operation
		res       Resource
		name      string
		want      bool
	}{
		{"root", "1.2.3.4", ClusterAction, Cluster, ClusterName, true},
		{"ana", "1.2.3.4", Write, Topic, "orders", true},
		{"ana", "1.2.3.4", Describe, Topic, "orders", true}, // implied
		{"ana", "1.2.3.4", Read, Topic, "orders", false},
		{"ana", "1.2.3.4", Write, Topic, "order", false},
		{"ana", "1.2.3.4", Write, Topic, "orders2", false},
		{"ana", "10.0.0.1", Read, Topic, "logs-1", true},
		{"ana", "10.0.0.2", Read, Topic, "logs-1", false},
		{"eve", "10.0.0.1", Read, Topic, "logs-secret-1", false},
		{"eve", "10.0.0.1", Read, Topic, "logs-1", true},
		{"eve", "10.0.0.1", Describe, Topic, "logs-secret-1", true}, // what is denied implies nothing
		{"bob", "1.1.1.1", Create, Topic, "anything", true},
		{"bob", "1.1.1.1", Delete, Topic, "orders", false},
		{"bob", "1.1.1.1", Read, Group, "g", false},
		{"ana", "::1", Read, Group, "g", true},
		{"ana", "1.1.1.1", DescribeConfigs, Topic, "conf", true},
		{"ana", "1.1.1.1", Describe, Topic, "conf", false},
		{"ana", "1.1.1.1", Read, Topic, "denied", false},
		{"ana", "1.1.1.1", Describe, Topic, "denied", true},
		{"ana", "1.1.1.1", Read, Topic, "hosted", false},
	} {
		if got := a.Authorize(subject(tc.who, tc.host), tc.op, tc.res, tc.name); got != tc.want {
			t.Errorf("%s from %s: %s %s:%s is %v, want %v", tc.who, tc.host, tc.op, tc.res, tc.name, got, tc.want)
		}
	}
}

func TestAllowWithoutACL(t *testing.T) {
	a := authorizer(t, Options{AllowWithoutACL: true}, acl(Topic, prefixed, "a", "User:ana", "1.1.1.1", Read, allow))
	for name, want := range map[string]bool{"b": true, "a": false, "ab": false} {
		if got := a.May(subject("bob", "2.2.2.2"), Read, Topic, name); got != want {
			t.Errorf("topic %s: %v, want %v", name, got, want)
		}
	}
}

// TestBeforeMetadata: what is denied is not known yet, so nothing is allowed but to super users.
func TestBeforeMetadata(t *testing.T) {
	a := NewAuthorizer(Options{
		SuperUsers: []Principal{Anonymous}, AllowWithoutACL: true, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if a.Authorize(subject("ana", "1.1.1.1"), Read, Topic, "t") || a.MayAnywhere(subject("ana", "1.1.1.1"), Write, Topic) {
		t.Error("allowed before the entries are known")
	}
	if !a.Authorize(subject("ANONYMOUS", "1.1.1.1"), ClusterAction, Cluster, ClusterName) {
		t.Error("a super user is denied")
	}
}

// naive decides by looking at every entry, as the rules are written down.
func naive(acls []meta.ACL, s Subject, op Operation, res Resource, name string, without bool) bool {
	about, allows := false, false
	for _, a := range acls {
		if a.ResourceType != res {
			continue
		}
		switch a.PatternType {
		case literal:
			if a.ResourceName != name && a.ResourceName != "*" {
				continue
			}
		case prefixed:
			if !strings.HasPrefix(name, a.ResourceName) {
				continue
			}
		}
		about = true
		if !concerns(a, s) {
			continue
		}
		if a.PermissionType == deny && (a.Operation == op || a.Operation == meta.ACLAll) {
			return false
		}
		if a.PermissionType != allow {
			continue
		}
		switch {
		case a.Operation == op, a.Operation == meta.ACLAll,
			op == Describe && (a.Operation == Read || a.Operation == Write || a.Operation == Delete || a.Operation == Alter),
			op == DescribeConfigs && a.Operation == AlterConfigs:
			allows = true
		}
	}
	return allows || !about && without
}

func concerns(a meta.ACL, s Subject) bool {
	return (a.Principal == s.Principal.String() || a.Principal == "User:*") && (a.Host == "*" || a.Host == s.Host.String())
}

// naiveAnywhere is the algorithm of Kafka's Authorizer.authorizeByResourceType.
func naiveAnywhere(acls []meta.ACL, s Subject, op Operation, res Resource, without bool) bool {
	if naive(acls, s, op, res, "hardcode", without) {
		return true
	}
	denied, wildcard := map[string]bool{}, false
	key := func(a meta.ACL) string { return fmt.Sprint(a.PatternType, a.ResourceName) }
	var given []meta.ACL
	for _, a := range acls {
		if a.ResourceType != res || !concerns(a, s) || a.Operation != op && a.Operation != meta.ACLAll {
			continue
		}
		all := a.PatternType == literal && a.ResourceName == "*"
		switch {
		case a.PermissionType == deny && all:
			return false
		case a.PermissionType == deny:
			denied[key(a)] = true
		case all:
			wildcard = true
		default:
			given = append(given, a)
		}
	}
	if wildcard {
		return true
	}
	for _, a := range given {
		dominated := a.PatternType == literal && denied[key(a)]
		for n := 1; n <= len(a.ResourceName); n++ {
			dominated = dominated || denied[fmt.Sprint(prefixed, a.ResourceName[:n])]
		}
		if !dominated {
			return true
		}
	}
	return false
}

// TestIndexProperty holds the index against a look at every entry.
func TestIndexProperty(t *testing.T) {
	names := []string{"a", "ab", "abc", "abd", "b", "ba", "hardcode", "hard", "*"}
	hosts := []string{"1.1.1.1", "2.2.2.2"}
	ops := []Operation{Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs, ClusterAction, IdempotentWrite}
	resources := []Resource{Topic, Group}
	entry := rapid.Custom(func(t *rapid.T) meta.ACL {
		return acl(rapid.SampledFrom(resources).Draw(t, "type"),
			rapid.SampledFrom([]meta.ACLPattern{literal, prefixed}).Draw(t, "pattern"),
			rapid.SampledFrom(names).Draw(t, "name"),
			rapid.SampledFrom([]string{"User:ana", "User:bob", "User:*", "Group:ana"}).Draw(t, "principal"),
			rapid.SampledFrom(append([]string{"*"}, hosts...)).Draw(t, "host"),
			rapid.SampledFrom(append([]Operation{meta.ACLAll}, ops...)).Draw(t, "operation"),
			rapid.SampledFrom([]meta.ACLPermission{allow, allow, deny}).Draw(t, "permission"))
	})
	rapid.Check(t, func(rt *rapid.T) {
		acls := rapid.SliceOfN(entry, 0, 12).Draw(rt, "entries")
		without := rapid.Bool().Draw(rt, "allowed without an entry")
		a := authorizer(t, Options{AllowWithoutACL: without}, acls...)
		for _, who := range []Principal{{UserType, "ana"}, {UserType, "bob"}, {"Group", "ana"}} {
			for _, host := range hosts {
				s := Subject{who, netip.MustParseAddr(host), ""}
				for _, res := range resources {
					for _, op := range ops {
						for _, name := range append(names, "abcd", "x") {
							if got, want := a.May(s, op, res, name), naive(acls, s, op, res, name, without); got != want {
								rt.Fatalf("%s from %s: %s %s:%s is %v, want %v", who, host, op, res, name, got, want)
							}
						}
						if got, want := a.MayAnywhere(s, op, res), naiveAnywhere(acls, s, op, res, without); got != want {
							rt.Fatalf("%s from %s: %s on any %s is %v, want %v", who, host, op, res, got, want)
						}
					}
				}
			}
		}
	})
}

func TestAuthorizeAllocatesNothing(t *testing.T) {
	a := authorizer(t, Options{SuperUsers: []Principal{{UserType, "root"}}},
		acl(Topic, prefixed, "or", "User:ana", "*", Write, allow), acl(Topic, literal, "orders", "User:*", "10.0.0.1", Read, allow))
	for _, who := range []string{"ana", "root"} {
		s := subject(who, "10.0.0.1")
		if n := testing.AllocsPerRun(100, func() {
			if !a.Authorize(s, Write, Topic, "orders") {
				t.Error("denied")
			}
		}); n != 0 {
			t.Errorf("a question of %s allocates %v times", who, n)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	acls := []meta.ACL{acl(Topic, literal, "*", "User:nobody", "*", Read, deny)}
	for i := range 10_000 {
		acls = append(acls, acl(Topic, literal, fmt.Sprint("topic-", i), "User:ana", "*", Write, allow))
	}
	for i := range 1000 {
		acls = append(acls, acl(Topic, prefixed, fmt.Sprint("team-", i), "User:ana", "*", Write, allow))
	}
	a := authorizer(b, Options{}, acls...)
	s := subject("ana", "10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		if !a.Authorize(s, Write, Topic, "topic-777") {
			b.Fatal("denied")
		}
	}
}

// TestDenialsAreLogged: in the words of Kafka's authorizer log, no more than so many in a second, the others counted.
func TestDenialsAreLogged(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	a := authorizer(t, Options{
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return at
		}})),
		Now: func() time.Time { return now },
	}, acl(Topic, prefixed, "or", "User:eve", "*", Write, deny))
	a.Authorize(subject("eve", "10.0.0.1"), Write, Topic, "orders")
	want := "Principal = User:eve is Denied operation = WRITE from host = 10.0.0.1 on resource = Topic:LITERAL:orders for request = " +
		"Produce based on rule MatchingAcl(acl=StandardAcl[resourceType=TOPIC, resourceName=or, patternType=PREFIXED, " +
		"principal=User:eve, host=*, operation=WRITE, permissionType=DENY])"
	if !strings.Contains(out.String(), want) {
		t.Errorf("logged %s\nwant %s", out.String(), want)
	}
	for range 50 {
		a.Authorize(subject("bob", "10.0.0.1"), Read, Topic, "orders")
	}
	if n := strings.Count(out.String(), "is Denied"); n != linesASecond {
		t.Errorf("%d lines in a second, want %d", n, linesASecond)
	}
	now = now.Add(time.Second)
	a.Authorize(subject("bob", "10.0.0.1"), Read, Topic, "orders")
	if !strings.Contains(out.String(), "count=31") || !strings.Contains(out.String(), "based on rule DefaultDeny") {
		t.Errorf("after a second: %s", out.String())
	}
	if a.Denials() != 52 || a.Grants() != 0 || a.ACLs() != 1 {
		t.Errorf("%d denied, %d allowed, %d entries", a.Denials(), a.Grants(), a.ACLs())
	}
}

func TestPrincipalMarshal(t *testing.T) {
	// As Kafka's DefaultKafkaPrincipalBuilder writes User:ana: version, two compact strings, false, no tagged fields.
	want := append([]byte{0, 0, 5}, "User\x04ana\x00\x00"...)
	got := Principal{UserType, "ana"}.Marshal()
	if !bytes.Equal(got, want) {
		t.Errorf("marshalled %q, want %q", got, want)
	}
	p, err := UnmarshalPrincipal(got)
	if err != nil || p != (Principal{UserType, "ana"}) {
		t.Errorf("read %v, %v", p, err)
	}
	if p, err := UnmarshalPrincipal((Principal{}).Marshal()); err != nil || p != Anonymous {
		t.Errorf("the zero value is read as %v, %v", p, err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 1}, {0, 0}, {0, 0, 9, 'U'}} {
		if p, err := UnmarshalPrincipal(bad); err == nil {
			t.Errorf("%v is read as %v", bad, p)
		}
	}
}
