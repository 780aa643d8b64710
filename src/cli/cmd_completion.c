/* SPDX-License-Identifier: Apache-2.0 */
/* completion: a bash script made from the command table. Flags it takes from --help, names from the server. */
#include "cli/commands.h"

#include "type/resource.h"

static void put_names(struct cli *c, const struct command *table)
{
    for (const struct command *k = table; k && k->name; k++)
        cli_print(c, "%s%s", k == table ? "" : " ", k->name);
}

static void put_subcommands(struct cli *c, const char *path, const struct command *table)
{
    for (const struct command *k = table; k->name; k++) {
        const char *name = path[0] ? cli_printf(c, "%s %s", path, k->name).p : k->name;
        if (!k->subs)
            continue;
        cli_print(c, "        '%s') words='", name);
        put_names(c, k->subs);
        cli_print(c, "' ;;\n");
        put_subcommands(c, name, k->subs);
    }
}

static void put_types(struct cli *c)
{
    for (unsigned i = 1; i < n_resources; i++)
        if (resources[i].verbs & VERB_LIST)
            cli_print(c, "%s ", resources[i].name);
}

static const char script_start[] =
    "# bash completion for kubectl\n"
    "# Load it with: source <(kubectl completion bash)\n"
    "__kubectl_types='";

static const char script_middle[] =
    "'\n"
    "__kubectl_names() {\n"
    "    kubectl get \"$@\" --request-timeout=2s -o jsonpath='{range .items[*]}{.metadata.name} {end}' 2>/dev/null\n"
    "}\n"
    "__kubectl_complete() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} path='' args=() scope=() words='' i w\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        w=${COMP_WORDS[i]}\n"
    "        case $w in\n"
    "        -n | --namespace | --context | --kubeconfig) scope+=(\"$w\" \"${COMP_WORDS[++i]}\") ;;\n"
    "        -A | -*=*) ;;\n"
    "        -f | -o | -l | -c | --*) ((i + 1 < COMP_CWORD)) && [[ ${COMP_WORDS[i]} != --*=* ]] && case $w in -f | -o | -l | -c) ((i++)) ;; esac ;;\n"
    "        -*) ;;\n"
    "        *) args+=(\"$w\") ;;\n"
    "        esac\n"
    "    done\n"
    "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
    "    -n | --namespace) COMPREPLY=($(compgen -W \"$(__kubectl_names namespaces)\" -- \"$cur\")); return ;;\n"
    "    -f | --filename | --kubeconfig) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
    "    -o | --output) COMPREPLY=($(compgen -W 'json yaml wide name jsonpath= go-template= custom-columns=' -- \"$cur\")); return ;;\n"
    "    --context) COMPREPLY=($(compgen -W \"$(kubectl config get-contexts -o name 2>/dev/null)\" -- \"$cur\")); return ;;\n"
    "    esac\n"
    "    if [[ $cur == -* ]]; then\n"
    "        words=$(kubectl \"${args[@]:0:2}\" --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u)\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    if ((${#args[@]} == 0)); then\n"
    "        words='";

static const char script_groups[] =
    "'\n"
    "    else\n"
    "        case \"${args[*]}\" in\n";

static const char script_end[] =
    "        'get' | 'describe' | 'delete' | 'edit' | 'label' | 'annotate' | 'patch' | 'scale' | 'wait' | 'explain' | 'expose' | 'autoscale')\n"
    "            words=$__kubectl_types ;;\n"
    "        'get '* | 'describe '* | 'delete '* | 'edit '* | 'label '* | 'annotate '* | 'patch '* | 'scale '* | 'wait '* | 'expose '*)\n"
    "            words=$(__kubectl_names \"${args[1]}\" \"${scope[@]}\") ;;\n"
    "        'logs' | 'exec' | 'attach' | 'port-forward') words=$(__kubectl_names pods \"${scope[@]}\") ;;\n"
    "        'cordon' | 'uncordon' | 'drain' | 'top node') words=$(__kubectl_names nodes) ;;\n"
    "        'rollout '*) words='deployment/ daemonset/ statefulset/'\n"
    "            words=\"$(kubectl get deployments,daemonsets,statefulsets -o name \"${scope[@]}\" --request-timeout=2s 2>/dev/null)\" ;;\n"
    "        'config use-context') words=$(kubectl config get-contexts -o name 2>/dev/null) ;;\n"
    "        'completion') words='bash zsh' ;;\n"
    "        esac\n"
    "    fi\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "}\n"
    "complete -o default -F __kubectl_complete kubectl\n";

int cmd_completion(struct cli *c, int argc, char **argv)
{
    struct flag flags[] = {NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc < 2)
        return cli_usage(c, "Shell not specified.");
    if (argc > 2)
        return cli_usage(c, "Too many arguments. Expected only the shell type.");
    if (strcmp(argv[1], "bash") && strcmp(argv[1], "zsh"))
        return cli_usage(c, "Unsupported shell type \"%s\".", argv[1]);
    if (argv[1][0] == 'z')
        cli_print(c, "autoload -U +X bashcompinit && bashcompinit\n");
    cli_print(c, "%s", script_start);
    put_types(c);
    cli_print(c, "%s", script_middle);
    put_names(c, commands);
    cli_print(c, "%s", script_groups);
    put_subcommands(c, "", commands);
    cli_print(c, "%s", script_end);
    return 0;
}
