package main

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// securityScenarios ask for what a broker without authorizer, SASL and delegation tokens has to refuse well.
func securityScenarios() []scenario {
	user := func(names ...string) func(*vars, *kmsg.DescribeUserSCRAMCredentialsRequest) {
		return func(v *vars, r *kmsg.DescribeUserSCRAMCredentialsRequest) {
			r.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{}
			for _, n := range names {
				u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
				u.Name = exactOr(v, n)
				r.Users = append(r.Users, u)
			}
		}
	}
	return []scenario{
		{"acls", []step{
			ask("describe, every version", each, kmsg.NewPtrDescribeACLsRequest, func(_ *vars, r *kmsg.DescribeACLsRequest) {
				r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
			}),
			ask("create, every version", each, kmsg.NewPtrCreateACLsRequest, func(v *vars, r *kmsg.CreateACLsRequest) {
				c := kmsg.NewCreateACLsRequestCreation()
				c.ResourceType, c.ResourceName, c.ResourcePatternType, c.Principal, c.Host, c.Operation, c.PermissionType = 2, v.name("acl"), 3, "User:a", "*", 3, 3
				r.Creations = append(r.Creations, c)
			}),
			ask("delete, every version", each, kmsg.NewPtrDeleteACLsRequest, func(_ *vars, r *kmsg.DeleteACLsRequest) {
				f := kmsg.NewDeleteACLsRequestFilter()
				f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 2, 1, 1, 1
				r.Filters = append(r.Filters, f)
			}),
		}},
		{"sasl", []step{
			both("handshake on a plain listener", kmsg.NewPtrSASLHandshakeRequest, func(_ *vars, r *kmsg.SASLHandshakeRequest) { r.Mechanism = "PLAIN" }),
			both("authenticate on a plain listener", kmsg.NewPtrSASLAuthenticateRequest, func(_ *vars, r *kmsg.SASLAuthenticateRequest) { r.SASLAuthBytes = []byte{0, 'a', 0, 'b'} }),
			ask("a connection after that", high, kmsg.NewPtrApiVersionsRequest, func(_ *vars, r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName, r.ClientSoftwareVersion = "a", "1" }),
		}},
		{"scram", []step{
			both("describe an unknown user", kmsg.NewPtrDescribeUserSCRAMCredentialsRequest, user("scram")),
			both("describe an empty name", kmsg.NewPtrDescribeUserSCRAMCredentialsRequest, user("=")),
			both("describe one user twice", kmsg.NewPtrDescribeUserSCRAMCredentialsRequest, user("scram", "scram")),
		}},
		{"delegation-tokens", []step{
			both("create", kmsg.NewPtrCreateDelegationTokenRequest),
			both("describe", kmsg.NewPtrDescribeDelegationTokenRequest),
			both("renew", kmsg.NewPtrRenewDelegationTokenRequest),
			both("expire", kmsg.NewPtrExpireDelegationTokenRequest),
		}},
	}
}
