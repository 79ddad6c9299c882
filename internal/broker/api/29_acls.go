package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeAcls, CreateAcls and DeleteAcls (keys 29, 30, 31), versions 1 to 3.
//
// Without an authorizer there are no ACLs: every question and every item is answered with
// SECURITY_DISABLED.
var (
	_ = register(kmsg.KeyDescribeAcls, (*Broker).describeACLs)
	_ = register(kmsg.KeyCreateAcls, (*Broker).createACLs)
	_ = register(kmsg.KeyDeleteAcls, (*Broker).deleteACLs)
)

const noAuthorizer = "No Authorizer is configured on this broker."

func (b *Broker) describeACLs(c *Call, _ *kmsg.DescribeAclsRequest) {
	resp := kmsg.NewDescribeAclsResponse()
	resp.ErrorCode, resp.ErrorMessage = kerr.SecurityDisabled.Code, new(noAuthorizer)
	c.Reply(&resp)
}

func (b *Broker) createACLs(c *Call, req *kmsg.CreateAclsRequest) {
	resp := kmsg.NewCreateAclsResponse()
	for range req.Creations {
		resp.Results = append(resp.Results, kmsg.CreateAclsResponseAclCreationResult{
			ErrorCode: kerr.SecurityDisabled.Code, ErrorMessage: new(noAuthorizer),
		})
	}
	c.Reply(&resp)
}

func (b *Broker) deleteACLs(c *Call, req *kmsg.DeleteAclsRequest) {
	resp := kmsg.NewDeleteAclsResponse()
	for range req.Filters {
		resp.FilterResults = append(resp.FilterResults, kmsg.DeleteAclsResponseDeleteAclsFilterResult{
			ErrorCode: kerr.SecurityDisabled.Code, ErrorMessage: new(noAuthorizer),
		})
	}
	c.Reply(&resp)
}
