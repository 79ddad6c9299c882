package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// CreateDelegationToken (key 38), RenewDelegationToken (39), ExpireDelegationToken (40) and
// DescribeDelegationToken (41), versions 1 to 3.
//
// Tokens are for authenticated connections; on any other, as all are without SASL and TLS, Kafka
// answers DELEGATION_TOKEN_REQUEST_NOT_ALLOWED before it looks at anything else.
var (
	_ = register(kmsg.KeyCreateDelegationToken, (*Broker).createToken)
	_ = register(kmsg.KeyRenewDelegationToken, (*Broker).renewToken)
	_ = register(kmsg.KeyExpireDelegationToken, (*Broker).expireToken)
	_ = register(kmsg.KeyDescribeDelegationToken, (*Broker).describeTokens)
)

func (b *Broker) createToken(c *Call, req *kmsg.CreateDelegationTokenRequest) {
	resp := kmsg.NewCreateDelegationTokenResponse()
	resp.ErrorCode = kerr.DelegationTokenRequestNotAllowed.Code
	requester := c.principal()
	resp.PrincipalType, resp.PrincipalName = requester.Type, requester.Name
	if req.OwnerPrincipalName != nil && *req.OwnerPrincipalName != "" && req.OwnerPrincipalType != nil {
		resp.PrincipalType, resp.PrincipalName = *req.OwnerPrincipalType, *req.OwnerPrincipalName
	}
	resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = requester.Type, requester.Name
	resp.IssueTimestampMs, resp.ExpiryTimestampMs, resp.MaxTimestampMs = -1, -1, -1
	c.Reply(&resp)
}

func (b *Broker) renewToken(c *Call, _ *kmsg.RenewDelegationTokenRequest) {
	resp := kmsg.NewRenewDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestampMs = kerr.DelegationTokenRequestNotAllowed.Code, -1
	c.Reply(&resp)
}

func (b *Broker) expireToken(c *Call, _ *kmsg.ExpireDelegationTokenRequest) {
	resp := kmsg.NewExpireDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestampMs = kerr.DelegationTokenRequestNotAllowed.Code, -1
	c.Reply(&resp)
}

func (b *Broker) describeTokens(c *Call, _ *kmsg.DescribeDelegationTokenRequest) {
	resp := kmsg.NewDescribeDelegationTokenResponse()
	resp.ErrorCode = kerr.DelegationTokenRequestNotAllowed.Code
	c.Reply(&resp)
}
