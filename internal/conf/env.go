package conf

import (
	"fmt"
	"slices"
	"strings"
)

// foreignEnv are variables with our prefixes that belong to the Java scripts, container images or
// command-line clients, and are no config keys.
var foreignEnv = []string{
	"KAFKA_HOME", "KAFKA_HOME_DIR", "KAFKA_DIR", "KAFKA_OPTS", "KAFKA_EXTRA", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS",
	"KAFKA_DEBUG", "KAFKA_MODE", "KAFKA_USER", "KAFKA_CLUSTERS", "KAFKA_VERSION", "KAFKA_SCALA_VERSION",
	"KAFKA_CFG", "KAFKA_DATA_DIRS", "KAFKA_ADVERTISED_HOST_NAME", "KAFKA_ADVERTISED_PORT", "KAFKA_CREATE_TOPICS",
	"LOGSTEAD_CONTEXT", "LOGSTEAD_CONFIG", "LOGSTEAD_BROKERS", "LOGSTEAD_HOME",
}

// foreignEnvParts mark families of such variables: KAFKA_HEAP_OPTS, KAFKA_JMX_PORT, and what
// Kubernetes sets for a service named kafka.
var foreignEnvParts = []string{
	"_OPTS", "_JMX_", "_LOG4J_", "_GC_", "_SERVICE_", "_PORT_", "_CLASSPATH", "_JVM_", "_DEBUG_", "_CLUSTER_ID",
}

// readEnv finds the config keys among the variables. A name that is no known key is a warning and
// not an error, for the prefixes are not ours alone.
func readEnv(env []string) ([]Setting, []string) {
	var out []Setting
	var warnings []string
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(entry, "=")
		rest, ours := envRest(name)
		if !ours || rest == "" || isForeign(name) {
			continue
		}
		if key := envKey(rest, strings.HasPrefix(name, "LOGSTEAD_")); key != "" {
			out = append(out, Setting{key, value, Origin{Kind: FromEnv, Name: name}, true})
			continue
		}
		warnings = append(warnings, unknownEnv(name, rest))
	}
	// LOGSTEAD_ stands after KAFKA_ in the order of names, and so wins.
	return out, warnings
}

func envRest(name string) (string, bool) {
	for _, prefix := range []string{"KAFKA_", "LOGSTEAD_"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest, true
		}
	}
	return "", false
}

func isForeign(name string) bool {
	return slices.Contains(foreignEnv, name) ||
		slices.ContainsFunc(foreignEnvParts, func(part string) bool {
			return strings.Contains(name, part) || name+"_" == "KAFKA"+part
		})
}

// envKey is the key that a variable names. Apache's image writes '_' as "__" and '-' as "___",
// Confluent's writes them as "___" and "__": whichever spelling gives a known key is meant.
func envKey(rest string, ownPrefix bool) string {
	lower := strings.ToLower(rest)
	apache := strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(lower)
	confluent := strings.NewReplacer("___", "_", "__", "-", "_", ".").Replace(lower)
	if ownPrefix {
		if _, ok := Lookup(ScopeBroker, "logstead."+apache); ok {
			return "logstead." + apache
		}
	}
	for _, key := range []string{apache, confluent} {
		if _, ok := lookupBroker(key); ok {
			return key
		}
	}
	return ""
}

func unknownEnv(name, rest string) string {
	guess := strings.ReplaceAll(strings.ToLower(rest), "_", ".")
	if near := nearest(ScopeBroker, guess); near != "" {
		return fmt.Sprintf("environment variable %s is no config key and was ignored: did you mean %s for %s?",
			name, name[:len(name)-len(rest)]+strings.ToUpper(strings.ReplaceAll(near, ".", "_")), near)
	}
	return fmt.Sprintf("environment variable %s is no config key and was ignored", name)
}
