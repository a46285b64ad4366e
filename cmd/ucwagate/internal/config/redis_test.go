package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func redisEnv(variables ...string) []string {
	return append(append([]string{"UCWAGATE_REDIS_REPLICAS=3"}, variables...), minimal...)
}

func TestRedisIsOffWithoutAddresses(t *testing.T) {
	t.Parallel()
	loaded, err := Load("", redisEnv())
	require.NoError(t, err, "how many replicas there are may be said all the same")
	require.False(t, loaded.Config.Redis.Enabled())
}

func TestPasswordsOfRedisAreOfTheFilesOrTheConfiguration(t *testing.T) {
	t.Parallel()
	loaded, err := Load("", redisEnv(
		"UCWAGATE_REDIS_ADDRESSES=a.example:26379,b.example:26379", "UCWAGATE_REDIS_SENTINEL=main",
		"UCWAGATE_REDIS_PASSWORD_FILE="+keep(t, secretWord+"\n"), "UCWAGATE_REDIS_SENTINEL_PASSWORD=other",
	))
	require.NoError(t, err)
	require.True(t, loaded.Config.Redis.Enabled())
	password, sentinel, err := loaded.Config.Redis.Credentials()
	require.NoError(t, err)
	require.Equal(t, secretWord, password)
	require.Equal(t, "other", sentinel)

	_, _, err = Redis{PasswordFile: keep(t, "\n")}.Credentials()
	require.EqualError(t, err, "reading password_file: the file is empty")
	_, _, err = Redis{SentinelPasswordFile: t.TempDir()}.Credentials()
	require.ErrorContains(t, err, "reading sentinel_password_file: ")
}

func TestABudgetThatReplicasCannotDivideIsAWarning(t *testing.T) {
	t.Parallel()
	for capacity, warned := range map[string]bool{"3": false, "2": true} {
		loaded, err := Load("", redisEnv("UCWAGATE_REDIS_ADDRESSES=localhost:6379", "UCWAGATE_TENANTS_0_BUDGET_CAPACITY="+capacity))
		require.NoError(t, err)
		if !warned {
			require.Empty(t, loaded.Warnings)
			continue
		}
		require.EqualError(t, loaded.Warnings, `env UCWAGATE_TENANTS_0_BUDGET_CAPACITY: tenants[0].budget.capacity: is 2, below the 3 of redis.replicas (env UCWAGATE_REDIS_REPLICAS): `+
			`while Redis cannot be reached no replica has a token for itself, and nothing is sent`)
	}
	loaded, err := Load("", redisEnv("UCWAGATE_TENANTS_0_BUDGET_CAPACITY=2"))
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings, "without Redis it is not divided")
}

func TestAPasswordOfRedisThatTravelsInClearIsAWarning(t *testing.T) {
	t.Parallel()
	for address, warned := range map[string]bool{"127.0.0.1:6379": false, "localhost:6379": false, "redis.example:6379": true} {
		loaded, err := Load("", redisEnv("UCWAGATE_REDIS_ADDRESSES="+address, "UCWAGATE_REDIS_PASSWORD="+secretWord))
		require.NoError(t, err)
		if !warned {
			require.Empty(t, loaded.Warnings)
			continue
		}
		require.EqualError(t, loaded.Warnings,
			`env UCWAGATE_REDIS_PASSWORD: redis.password: is sent in clear: redis.tls is not enabled and "redis.example:6379" is another machine`)
	}
	loaded, err := Load("", redisEnv(
		"UCWAGATE_REDIS_ADDRESSES=redis.example:6379", "UCWAGATE_REDIS_PASSWORD="+secretWord, "UCWAGATE_REDIS_TLS_ENABLED=true",
	))
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
}
