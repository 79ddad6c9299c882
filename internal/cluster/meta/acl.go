package meta

import (
	"fmt"

	"github.com/logstead/logstead/internal/kit/base"
)

// ACL is one access control entry: whether a principal, from a host, may do an operation on the resources that a pattern
// names.
type ACL struct {
	ID             base.TopicID
	ResourceType   ACLResource
	ResourceName   string
	PatternType    ACLPattern
	Principal      string // type:name; User:* is everybody
	Host           string // an address; * is every host
	Operation      ACLOperation
	PermissionType ACLPermission
}

// The parts of an entry, as Kafka numbers them. The zero value of each is one that nobody knows.
type (
	ACLResource   int8
	ACLPattern    int8
	ACLOperation  int8
	ACLPermission int8
)

// The resources that entries are about; ACLAnyResource is of filters only.
const (
	ACLAnyResource ACLResource = iota + 1
	ACLTopic
	ACLGroup
	ACLCluster
	ACLTransactionalID
	ACLDelegationToken
	ACLUser
)

// The patterns of resources' names. ACLAnyPattern and ACLMatch, which asks for the patterns that fit a name, are of filters.
const (
	ACLAnyPattern ACLPattern = iota + 1
	ACLMatch
	ACLLiteral
	ACLPrefixed
)

// The operations; ACLAnyOperation is of filters only.
const (
	ACLAnyOperation ACLOperation = iota + 1
	ACLAll
	ACLRead
	ACLWrite
	ACLCreate
	ACLDelete
	ACLAlter
	ACLDescribe
	ACLClusterAction
	ACLDescribeConfigs
	ACLAlterConfigs
	ACLIdempotentWrite
	ACLCreateTokens
	ACLDescribeTokens
	ACLTwoPhaseCommit
)

// The permissions; ACLAnyPermission is of filters only.
const (
	ACLAnyPermission ACLPermission = iota + 1
	ACLDeny
	ACLAllow
)

const (
	// ACLWildcard is the name of a literal pattern that fits every name, and of the host that is every host.
	ACLWildcard = "*"
	// ACLClusterName is the name of the one cluster resource.
	ACLClusterName = "kafka-cluster"
)

var (
	aclResources = [...]string{"UNKNOWN", "ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"}
	aclPatterns  = [...]string{"UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"}
	// In words of its own, as Kafka's authorizer writes them in its log.
	aclResourceWords = [...]string{"Unknown", "Any", "Topic", "Group", "Cluster", "TransactionalId", "DelegationToken", "User"}
	aclOperations    = [...]string{
		"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS",
		"ALTER_CONFIGS", "IDEMPOTENT_WRITE", "CREATE_TOKENS", "DESCRIBE_TOKENS", "TWO_PHASE_COMMIT",
	}
	aclPermissions = [...]string{"UNKNOWN", "ANY", "DENY", "ALLOW"}
)

func aclName(names []string, n int8) string {
	if n < 0 || int(n) >= len(names) {
		n = 0
	}
	return names[n]
}

// Known says whether the value is one that this build knows.
func (r ACLResource) Known() bool { return r > 0 && int(r) < len(aclResources) }

// String is Kafka's name.
func (r ACLResource) String() string { return aclName(aclResources[:], int8(r)) }

// Word is the name as Kafka's authorizer writes it in its log.
func (r ACLResource) Word() string { return aclName(aclResourceWords[:], int8(r)) }

// Known says whether the value is one that this build knows.
func (p ACLPattern) Known() bool { return p > 0 && int(p) < len(aclPatterns) }

// String is Kafka's name.
func (p ACLPattern) String() string { return aclName(aclPatterns[:], int8(p)) }

// Known says whether the value is one that this build knows.
func (o ACLOperation) Known() bool { return o > 0 && int(o) < len(aclOperations) }

// String is Kafka's name.
func (o ACLOperation) String() string { return aclName(aclOperations[:], int8(o)) }

// Known says whether the value is one that this build knows.
func (p ACLPermission) Known() bool { return p > 0 && int(p) < len(aclPermissions) }

// String is Kafka's name.
func (p ACLPermission) String() string { return aclName(aclPermissions[:], int8(p)) }

// String is the entry as Kafka's authorizer writes it in its log.
func (a *ACL) String() string {
	return fmt.Sprintf("StandardAcl[resourceType=%s, resourceName=%s, patternType=%s, principal=%s, host=%s, operation=%s, permissionType=%s]",
		a.ResourceType, a.ResourceName, a.PatternType, a.Principal, a.Host, a.Operation, a.PermissionType)
}

// Fits says whether the entry's pattern fits a resource.
func (a *ACL) Fits(resource ACLResource, name string) bool {
	return a.ResourceType == resource && fits(a.PatternType, a.ResourceName, name)
}

func fits(pattern ACLPattern, of, name string) bool {
	if pattern == ACLPrefixed {
		return len(name) >= len(of) && name[:len(of)] == of
	}
	return of == name || of == ACLWildcard
}

// ACLFilter says which entries are meant; nil and Any fit everything.
type ACLFilter struct {
	ResourceType    ACLResource
	ResourceName    *string
	PatternType     ACLPattern
	Principal, Host *string
	Operation       ACLOperation
	PermissionType  ACLPermission
}

// Matches says whether an entry is meant.
func (f *ACLFilter) Matches(a *ACL) bool {
	if f.ResourceType != ACLAnyResource && f.ResourceType != a.ResourceType ||
		f.Operation != ACLAnyOperation && f.Operation != a.Operation ||
		f.PermissionType != ACLAnyPermission && f.PermissionType != a.PermissionType ||
		f.Principal != nil && *f.Principal != a.Principal || f.Host != nil && *f.Host != a.Host {
		return false
	}
	if f.PatternType != ACLAnyPattern && f.PatternType != ACLMatch && f.PatternType != a.PatternType {
		return false
	}
	switch {
	case f.ResourceName == nil:
		return true
	case f.PatternType == ACLMatch:
		return fits(a.PatternType, a.ResourceName, *f.ResourceName)
	}
	return *f.ResourceName == a.ResourceName
}
