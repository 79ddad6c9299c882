package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// aclRow is one access control entry.
type aclRow struct {
	Resource   string `json:"resource" col:"RESOURCE"`
	Name       string `json:"name" col:"NAME"`
	Pattern    string `json:"pattern" col:"PATTERN"`
	Principal  string `json:"principal" col:"PRINCIPAL"`
	Host       string `json:"host" col:"HOST"`
	Operation  string `json:"operation" col:"OPERATION"`
	Permission string `json:"permission" col:"PERMISSION"`
	Status     string `json:"status,omitempty" col:"STATUS,wide"`
	Error      string `json:"error,omitempty" col:"ERROR,wide"`
	ErrorCode  int16  `json:"kafka_code,omitempty"`
}

func aclCmd(a *App) *cobra.Command {
	c := family("acl", "List, add and remove access control entries: who may do what",
		aclListCmd(a), aclAddCmd(a), aclRemoveCmd(a))
	c.Long = `List, add and remove access control entries, which say what principals may do. They count where the brokers
have an authorizer (authorizer.class.name). What no entry allows is denied; what one denies stays denied.`
	c.Example = examples(
		"", "logstead acl list",
		"a user that writes a topic", "logstead acl add --allow ana --producer --topic orders",
		"a user that reads it in a group", "logstead acl add --allow bob --consumer --topic orders --group billing")
	return c
}

// clusterResource is the name of the one cluster resource.
const clusterResource = "kafka-cluster"

// everyResource is the literal name that stands for all.
const everyResource = "*"

// aclTarget are the options that name resources.
type aclTarget struct {
	topics, groups, txns, users, tokens []string
	cluster, prefixed                   bool
}

func (t *aclTarget) add(f *pflag.FlagSet) {
	f.StringSliceVar(&t.topics, "topic", nil, "these topics; '*' is every one")
	f.StringSliceVar(&t.groups, "group", nil, "these groups; '*' is every one")
	f.StringSliceVar(&t.txns, "txn", nil, "these transactional ids; '*' is every one")
	f.BoolVar(&t.cluster, "cluster", false, "the cluster itself")
	f.StringSliceVar(&t.tokens, "token", nil, "these delegation tokens")
	f.StringSliceVar(&t.users, "user-resource", nil, "these users, as User:name, for what may be done in their name")
	f.BoolVar(&t.prefixed, "prefixed", false, "every resource whose name begins so")
}

// aclResource is a resource that entries are about.
type aclResource struct {
	kind kmsg.ACLResourceType
	name string
}

func (t *aclTarget) resources() (all []aclResource) {
	for _, of := range []struct {
		kind  kmsg.ACLResourceType
		names []string
	}{
		{kmsg.ACLResourceTypeTopic, t.topics}, {kmsg.ACLResourceTypeGroup, t.groups},
		{kmsg.ACLResourceTypeTransactionalId, t.txns}, {kmsg.ACLResourceTypeDelegationToken, t.tokens}, {kmsg.ACLResourceTypeUser, t.users},
	} {
		for _, name := range of.names {
			all = append(all, aclResource{of.kind, name})
		}
	}
	if t.cluster {
		all = append(all, aclResource{kmsg.ACLResourceTypeCluster, clusterResource})
	}
	return all
}

// pattern is how the names are meant. The cluster has one name, and every name has the prefix of none.
func (t *aclTarget) pattern(r aclResource) kmsg.ACLResourcePatternType {
	if t.prefixed && r.kind != kmsg.ACLResourceTypeCluster && r.name != everyResource {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

// principalOf is a principal as entries name it: a name alone is that of a user.
func principalOf(s string) string {
	if s == "" || strings.Contains(s, ":") {
		return s
	}
	return "User:" + s
}

// aclOperations are those that each resource knows.
var aclOperations = map[kmsg.ACLResourceType][]kmsg.ACLOperation{
	kmsg.ACLResourceTypeTopic: {
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter,
		kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	},
	kmsg.ACLResourceTypeGroup: {
		kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs,
		kmsg.ACLOperationAlterConfigs,
	},
	kmsg.ACLResourceTypeCluster: {
		kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
		kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
	},
	kmsg.ACLResourceTypeTransactionalId: {kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeDelegationToken: {kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeUser:            {kmsg.ACLOperationCreateTokens, kmsg.ACLOperationDescribeTokens},
}

// operationNames are all that an option takes.
func operationNames() (names []string) {
	for _, ops := range aclOperations {
		for _, op := range ops {
			if name := strings.ToLower(op.String()); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return append(names, "all")
}

// parseOperation reads an operation in any of the spellings that are about: alter_configs, AlterConfigs, alter-configs.
func parseOperation(s string) (kmsg.ACLOperation, error) {
	op, err := kmsg.ParseACLOperation(s)
	if err != nil || op <= kmsg.ACLOperationAny {
		f := usagef("--op %q: there is no such operation", s)
		f.Similar = similar(strings.ToLower(s), operationNames())
		return 0, f.try("one of %s", strings.Join(operationNames(), ", "))
	}
	return op, nil
}

// completeOperations completes --op.
func completeOperations(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return operationNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeTarget completes the names of topics and groups.
func (a *App) completeTarget(c *cobra.Command) {
	for flag, complete := range map[string]func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective){
		"topic": a.completeTopics, "group": a.completeGroups, "op": completeOperations,
	} {
		_ = c.RegisterFlagCompletionFunc(flag, complete) // there are such flags
	}
}

// word is an enumeration's name as it is shown.
func word(s string) string { return strings.ToLower(s) }
