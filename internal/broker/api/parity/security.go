package parity

import (
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

var securityScript = Script{Name: "security", Steps: []Step{
	ask("describe ACLs", func(_ *Run, m *kmsg.DescribeAclsRequest) {
		m.ResourceTypeFilter, m.PatternTypeFilter, m.Operation, m.PermissionType = 1, 3, 1, 1
	}),
	ask("create ACL", func(r *Run, m *kmsg.CreateAclsRequest) {
		m.Creations = []kmsg.CreateAclsRequestAclCreation{{
			ResourceType: 2, ResourceName: r.Fresh("t"), ResourcePatternType: 3, Principal: "User:a", Host: "*",
			Operation: 3, PermissionType: 3,
		}}
	}),
	ask("create no ACL", func(_ *Run, _ *kmsg.CreateAclsRequest) {}),
	ask("delete ACLs", func(_ *Run, m *kmsg.DeleteAclsRequest) {
		f := kmsg.NewDeleteAclsRequestDeleteAclsFilter()
		f.ResourceTypeFilter, f.PatternTypeFilter, f.Operation, f.PermissionType = 2, 3, 1, 1
		m.Filters = []kmsg.DeleteAclsRequestDeleteAclsFilter{f, f}
	}),
	ask("create token", func(_ *Run, m *kmsg.CreateDelegationTokenRequest) { m.MaxLifetimeMs = -1 }),
	ask("renew token", func(_ *Run, m *kmsg.RenewDelegationTokenRequest) { m.Hmac = []byte("x") }),
	ask("expire token", func(_ *Run, m *kmsg.ExpireDelegationTokenRequest) { m.Hmac = []byte("x") }),
	ask("describe tokens", func(_ *Run, _ *kmsg.DescribeDelegationTokenRequest) {}),
	ask("SASL handshake", func(_ *Run, m *kmsg.SaslHandshakeRequest) { m.Mechanism = "PLAIN" }),
	ask("SASL authenticate", func(_ *Run, m *kmsg.SaslAuthenticateRequest) { m.AuthBytes = []byte("\x00a\x00b") }),
	ask("telemetry", func(_ *Run, _ *kmsg.GetTelemetrySubscriptionsRequest) {}),
	ask("push telemetry", func(_ *Run, m *kmsg.PushTelemetryRequest) { m.ClientInstanceId = [16]byte{1} }),
	scram("unknown user", "none"),
	scram("user twice", "twice", "twice"),
	keep(ask("describe all users", func(_ *Run, _ *kmsg.DescribeUserScramCredentialsRequest) {}), keepUsers),
	ask("upsert", upsert("u", 1, 8192, 20)),
	ask("upsert again", upsert("u", 2, 4096, 20)),
	scram("known user", "u"),
	ask("few iterations", upsert("v", 1, 100, 20)),
	ask("many iterations", upsert("v", 1, 16385, 20)),
	ask("mechanism 7", upsert("v", 7, 8192, 20)),
	ask("mechanism 0", upsert("v", 0, 8192, 20)),
	ask("no password", upsert("v", 1, 8192, 0)),
	ask("no user", func(_ *Run, m *kmsg.AlterUserScramCredentialsRequest) {
		m.Upsertions = []kmsg.AlterUserScramCredentialsRequestScramCredentialUpsertion{{
			Mechanism: 1, Iterations: 8192, Salt: []byte("salt"), SaltedPassword: []byte("password"),
		}}
	}),
	ask("delete unknown user", remove("none", 1)),
	ask("delete unknown mechanism", remove("u", 9)),
	ask("delete one of two", remove("u", 1)),
	scram("user with one left", "u"),
	ask("delete twice", func(r *Run, m *kmsg.AlterUserScramCredentialsRequest) {
		remove("u", 2)(r, m)
		m.Deletions = append(m.Deletions, m.Deletions[0])
	}),
	ask("upsert and delete", func(r *Run, m *kmsg.AlterUserScramCredentialsRequest) {
		remove("u", 2)(r, m)
		upsert("u", 2, 4096, 20)(r, m)
	}),
	ask("delete the last", remove("u", 2)),
	scram("user without any", "u"),
	ask("alter nothing", func(_ *Run, _ *kmsg.AlterUserScramCredentialsRequest) {}),
}}

func scram(name string, users ...string) Step {
	return ask(name, func(r *Run, m *kmsg.DescribeUserScramCredentialsRequest) {
		for _, u := range users {
			m.Users = append(m.Users, kmsg.DescribeUserScramCredentialsRequestUserName{Name: r.Name(u)})
		}
	})
}

func keepUsers(r *Run, m *kmsg.DescribeUserScramCredentialsResponse) {
	m.Results = slices.DeleteFunc(m.Results,
		func(u kmsg.DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult) bool {
			return !strings.HasPrefix(u.User, r.prefix)
		})
}

func upsert(user string, mechanism int8, iterations int32, password int,
) func(*Run, *kmsg.AlterUserScramCredentialsRequest) {
	return func(r *Run, m *kmsg.AlterUserScramCredentialsRequest) {
		m.Upsertions = append(m.Upsertions, kmsg.AlterUserScramCredentialsRequestScramCredentialUpsertion{
			Name: r.Name(user), Mechanism: mechanism, Iterations: iterations, Salt: []byte("salt"),
			SaltedPassword: make([]byte, password),
		})
	}
}

func remove(user string, mechanism int8) func(*Run, *kmsg.AlterUserScramCredentialsRequest) {
	return func(r *Run, m *kmsg.AlterUserScramCredentialsRequest) {
		m.Deletions = append(m.Deletions, kmsg.AlterUserScramCredentialsRequestScramCredentialDeletion{
			Name: r.Name(user), Mechanism: mechanism,
		})
	}
}

// part is one part of a quota's entity: type and name, nil for the default.
type part struct {
	kind string
	name *string
}

func quota(name string, entity func(*Run) []part, key string, value float64, remove bool) Step {
	return ask(name, func(r *Run, m *kmsg.AlterClientQuotasRequest) {
		e := kmsg.AlterClientQuotasRequestEntryData{
			Ops: []kmsg.AlterClientQuotasRequestOpData{{Key: key, Value: value, Remove: remove}},
		}
		for _, p := range entity(r) {
			e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntityData{EntityType: p.kind, EntityName: p.name})
		}
		m.Entries = []kmsg.AlterClientQuotasRequestEntryData{e}
	})
}

func entity(parts ...string) func(*Run) []part {
	return func(r *Run) []part {
		var ps []part
		for i := 0; i < len(parts); i += 2 {
			p := part{kind: parts[i]}
			if n := parts[i+1]; n != "" {
				p.name = new(n)
				if parts[i] != "ip" {
					*p.name = r.Name(n)
				}
			}
			ps = append(ps, p)
		}
		return ps
	}
}

// component is one part of a filter: match 0 exact, 1 default, 2 any.
type component struct {
	kind  string
	match int8
	name  string
}

func quotas(name string, strict bool, cs ...component) Step {
	s := ask(name, func(r *Run, m *kmsg.DescribeClientQuotasRequest) {
		m.Strict = strict
		m.Components = []kmsg.DescribeClientQuotasRequestComponentData{}
		for _, c := range cs {
			d := kmsg.DescribeClientQuotasRequestComponentData{EntityType: c.kind, MatchType: c.match}
			if c.name != "" {
				d.Match = new(r.Name(c.name))
			}
			m.Components = append(m.Components, d)
		}
	})
	return keep(s, func(r *Run, m *kmsg.DescribeClientQuotasResponse) {
		m.Entries = slices.DeleteFunc(m.Entries, func(e kmsg.DescribeClientQuotasResponseEntryData) bool {
			return !slices.ContainsFunc(e.Entity, func(d kmsg.DescribeClientQuotasResponseEntityData) bool {
				return d.EntityName != nil && strings.HasPrefix(*d.EntityName, r.prefix)
			})
		})
	})
}

var quotasScript = Script{Name: "quotas", Steps: []Step{
	quota("client", entity("client-id", "c"), "producer_byte_rate", 1000, false),
	quota("user", entity("user", "u"), "consumer_byte_rate", 2000, false),
	quota("user and client", entity("user", "u", "client-id", "c"), "request_percentage", 50, false),
	quota("user and default client", entity("user", "u", "client-id", ""), "request_percentage", 25.5, false),
	quota("mutation", entity("client-id", "c"), "controller_mutation_rate", 3, false),
	quotas("of the client", false, component{"client-id", 0, "c"}),
	quotas("of the client alone", true, component{"client-id", 0, "c"}),
	quotas("of the user", false, component{"user", 0, "u"}),
	quotas("of user and any client", true, component{"user", 0, "u"}, component{"client-id", 2, ""}),
	quotas("of user and default client", true, component{"user", 0, "u"}, component{"client-id", 1, ""}),
	quotas("of any user", true, component{"user", 2, ""}),
	quotas("all", false),
	quotas("all, strictly", true),
	quotas("unknown entity", false, component{"group", 0, "c"}),
	quotas("empty entity", false, component{"", 0, "c"}),
	quotas("unknown match", false, component{"user", 9, "c"}),
	quotas("exact without a name", false, component{"user", 0, ""}),
	quotas("default with a name", false, component{"user", 1, "u"}),
	quotas("any with a name", false, component{"user", 2, "u"}),
	quotas("user twice", false, component{"user", 0, "u"}, component{"user", 0, "v"}),
	quotas("ip and user", false, component{"ip", 2, ""}, component{"user", 2, ""}),
	quota("unknown key", entity("client-id", "c"), "no_such_rate", 1, false),
	quota("ip key for a client", entity("client-id", "c"), "connection_creation_rate", 1, false),
	quota("client key for an ip", entity("ip", "10.0.0.1"), "producer_byte_rate", 1, false),
	quota("bad ip", entity("ip", "not an address"), "connection_creation_rate", 1, false),
	quota("ip and user", entity("ip", "10.0.0.1", "user", "u"), "connection_creation_rate", 1, false),
	quota("unknown type", entity("group", "g"), "producer_byte_rate", 1, false),
	quota("no entity", entity(), "producer_byte_rate", 1, false),
	quota("type twice", entity("user", "u", "user", "v"), "producer_byte_rate", 1, false),
	quota("zero", entity("client-id", "c"), "producer_byte_rate", 0, false),
	quota("negative", entity("client-id", "c"), "producer_byte_rate", -1, false),
	quota("fraction of a byte", entity("client-id", "c"), "producer_byte_rate", 1.5, false),
	quota("remove", entity("client-id", "c"), "producer_byte_rate", 0, true),
	quota("remove again", entity("client-id", "c"), "producer_byte_rate", 0, true),
	quotas("after remove", true, component{"client-id", 0, "c"}),
	ask("validate only", func(r *Run, m *kmsg.AlterClientQuotasRequest) {
		m.ValidateOnly = true
		m.Entries = []kmsg.AlterClientQuotasRequestEntryData{{
			Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "user", EntityName: new(r.Name("w"))}},
			Ops:    []kmsg.AlterClientQuotasRequestOpData{{Key: "producer_byte_rate", Value: 5}},
		}}
	}),
	quotas("after validate only", true, component{"user", 0, "w"}),
	ask("key twice", func(r *Run, m *kmsg.AlterClientQuotasRequest) {
		m.Entries = []kmsg.AlterClientQuotasRequestEntryData{{
			Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "user", EntityName: new(r.Name("w"))}},
			Ops: []kmsg.AlterClientQuotasRequestOpData{
				{Key: "producer_byte_rate", Value: 5}, {Key: "producer_byte_rate", Value: 6},
			},
		}}
	}),
	ask("entity twice", func(r *Run, m *kmsg.AlterClientQuotasRequest) {
		e := kmsg.AlterClientQuotasRequestEntryData{
			Entity: []kmsg.AlterClientQuotasRequestEntityData{{EntityType: "user", EntityName: new(r.Name("x"))}},
			Ops:    []kmsg.AlterClientQuotasRequestOpData{{Key: "producer_byte_rate", Value: 5}},
		}
		m.Entries = append(m.Entries, e, e)
	}),
	quota("remove mutation", entity("client-id", "c"), "controller_mutation_rate", 0, true),
	quota("remove user", entity("user", "u"), "consumer_byte_rate", 0, true),
	quota("remove both", entity("user", "u", "client-id", "c"), "request_percentage", 0, true),
	quota("remove default client", entity("user", "u", "client-id", ""), "request_percentage", 0, true),
	quota("remove last user", entity("user", "w"), "producer_byte_rate", 0, true),
	quota("remove other user", entity("user", "x"), "producer_byte_rate", 0, true),
	quota("remove third user", entity("user", "v"), "producer_byte_rate", 0, true),
	quotas("nothing left", false),
}}
