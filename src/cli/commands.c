/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#define TYPES "(TYPE NAME | TYPE/NAME | -f FILE)"

static const struct command plugin_commands[] = {
    {"list", NULL, "[flags]", "List the plug-ins in PATH", NULL, cmd_plugin_list, NULL},
    {0},
};

const struct command commands[] = {
    {"create", NULL, "-f FILE [flags]", "Create objects from files or stdin, or simple ones from flags",
     "Examples:\n  kubectl create -f pod.yaml\n  kubectl create deployment web --image=nginx --replicas=2\n"
     "  kubectl create configmap settings --from-literal=mode=fast --from-file=app.conf\n",
     cmd_create, create_commands},
    {"expose", NULL, TYPES " [--port=PORT] [--target-port=PORT] [--type=TYPE] [flags]",
     "Make a Service for the pods of a pod, service, controller or deployment",
     "Examples:\n  kubectl expose deployment web --port=80 --target-port=8080\n", cmd_expose, NULL},
    {"run", NULL, "NAME --image=IMAGE [--command] [-- [COMMAND] [ARGS...]] [flags]", "Run an image in a pod",
     "Examples:\n  kubectl run web --image=nginx --port=80\n"
     "  kubectl run shell --image=busybox --restart=Never --rm -it -- sh\n",
     cmd_run, NULL},
    {"set", NULL, "SUBCOMMAND [flags]", "Set single features of objects", NULL, NULL, set_commands},
    {"explain", NULL, "TYPE[.FIELD...] [flags]", "Tell what a kind and its fields are",
     "Examples:\n  kubectl explain pods\n  kubectl explain pods.spec.containers\n  kubectl explain deploy.spec --recursive\n",
     cmd_explain, NULL},
    {"get", NULL, "(TYPE[.VERSION][.GROUP] [NAME... | -l SELECTOR] | TYPE/NAME ... | -f FILE) [flags]",
     "Show one or many objects",
     "Examples:\n  kubectl get pods\n  kubectl get nodes,pods,services -o wide\n  kubectl get pod web -o yaml\n"
     "  kubectl get pods -l app=web -o jsonpath='{.items[*].status.podIP}'\n  kubectl get pods --watch\n"
     "\n\"kubectl api-resources\" lists the types.\n",
     cmd_get, NULL},
    {"edit", NULL, TYPES " [flags]", "Edit an object of the server in an editor (KUBE_EDITOR, EDITOR, else vi)", NULL,
     cmd_edit, NULL},
    {"delete", NULL, "([-f FILE] | TYPE [NAME... | -l SELECTOR | --all] | TYPE/NAME ...) [flags]",
     "Delete objects by files, stdin, names or selectors",
     "Examples:\n  kubectl delete -f pod.yaml\n  kubectl delete pod,service web\n  kubectl delete pods -l app=web\n"
     "  kubectl delete pod web --now\n",
     cmd_delete, NULL},
    {"rollout", NULL, "SUBCOMMAND [flags]", "Manage the rollout of Deployments, DaemonSets and StatefulSets", NULL, NULL,
     rollout_commands},
    {"scale", NULL, "--replicas=COUNT " TYPES " [flags]", "Set how many replicas a workload has",
     "Examples:\n  kubectl scale --replicas=3 deployment/web\n", cmd_scale, NULL},
    {"autoscale", NULL, TYPES " --max=COUNT [--min=COUNT] [--cpu=TARGET] [flags]",
     "Make a HorizontalPodAutoscaler for a workload", NULL, cmd_autoscale, NULL},
    {"certificate", NULL, "SUBCOMMAND [flags]", "Approve or deny certificate signing requests", NULL, NULL,
     certificate_commands},
    {"cluster-info", NULL, "[flags]", "Show where the control plane is", NULL, cmd_cluster_info, NULL},
    {"top", NULL, "SUBCOMMAND [flags]", "Show the use of CPU and memory", NULL, NULL, top_commands},
    {"cordon", NULL, "NODE [flags]", "Take no new pods on a node", NULL, cmd_cordon, NULL},
    {"uncordon", NULL, "NODE [flags]", "Take new pods on a node again", NULL, cmd_uncordon, NULL},
    {"drain", NULL, "NODE [flags]", "Evict the pods of a node, to take it out of service",
     "Examples:\n  kubectl drain node-1 --ignore-daemonsets --delete-emptydir-data\n", cmd_drain, NULL},
    {"taint", NULL, "NODE KEY_1=VAL_1:EFFECT_1 ... KEY_N=VAL_N:EFFECT_N [flags]", "Change the taints of nodes",
     "Examples:\n  kubectl taint nodes node-1 dedicated=db:NoSchedule\n  kubectl taint nodes node-1 dedicated-\n", cmd_taint,
     NULL},
    {"describe", NULL, "(-f FILE | TYPE [NAME_PREFIX | -l SELECTOR] | TYPE/NAME) [flags]",
     "Show an object in detail, with its events", NULL, cmd_describe, NULL},
    {"debug", NULL, "(POD | TYPE/NAME | -f FILE) [--image=IMAGE] [--copy-to=NAME] [-- COMMAND [ARGS...]] [flags]",
     "Look around in a pod, in a copy of it, or on a node",
     "Examples:\n  kubectl debug web -it --image=busybox --target=app\n  kubectl debug web -it --copy-to=web-debug --container=app -- sh\n"
     "  kubectl debug node/node-1 -it --image=busybox\n",
     cmd_debug, NULL},
    {"logs", NULL, "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER] [flags]", "Print the output of a container",
     "Examples:\n  kubectl logs web\n  kubectl logs -f deployment/web --all-containers\n  kubectl logs web --tail=20 --since=1h\n",
     cmd_logs, NULL},
    {"attach", NULL, "(POD | TYPE/NAME) -c CONTAINER [flags]", "Attach to a running container", NULL, cmd_attach, NULL},
    {"exec", NULL, "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]", "Run a command in a container",
     "Examples:\n  kubectl exec web -- date\n  kubectl exec -it web -- sh\n", cmd_exec, NULL},
    {"port-forward", NULL, "TYPE/NAME [LOCAL_PORT:]REMOTE_PORT [...] [flags]", "Forward local ports to a pod",
     "Examples:\n  kubectl port-forward pod/web 8080:80\n  kubectl port-forward service/web :80\n", cmd_port_forward, NULL},
    {"proxy", NULL, "[--port=PORT] [--www=DIR] [--api-prefix=PREFIX] [flags]", "Serve the API on a local port", NULL,
     cmd_proxy, NULL},
    {"cp", NULL, "SOURCE DESTINATION [flags]", "Copy files to and from containers",
     "Examples:\n  kubectl cp /tmp/file web:/tmp/file\n  kubectl cp other/web:/var/log /tmp/log -c app\n"
     "\nThe container must have tar.\n",
     cmd_cp, NULL},
    {"auth", NULL, "SUBCOMMAND [flags]", "Look into authorization", NULL, NULL, auth_commands},
    {"events", NULL, "[--for TYPE/NAME] [--watch] [--types=Normal,Warning] [flags]", "List events", NULL, cmd_events, NULL},
    {"diff", NULL, "-f FILE [flags]", "Show what apply would change", NULL, cmd_diff, NULL},
    {"apply", NULL, "-f FILE [flags]", "Make objects be as files or stdin say",
     "Examples:\n  kubectl apply -f pod.yaml\n  cat pod.yaml | kubectl apply -f -\n", cmd_apply, apply_commands},
    {"patch", NULL, TYPES " [-p PATCH | --patch-file FILE] [flags]", "Change fields of an object",
     "Examples:\n  kubectl patch node node-1 -p '{\"spec\":{\"unschedulable\":true}}'\n"
     "  kubectl patch pod web --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/labels/x\"}]'\n",
     cmd_patch, NULL},
    {"replace", NULL, "-f FILE [flags]", "Replace objects by files or stdin", NULL, cmd_replace, NULL},
    {"wait", NULL, TYPES " --for=(create|delete|condition=NAME[=VALUE]|jsonpath='{PATH}'[=VALUE]) [flags]",
     "Wait for a condition of objects",
     "Examples:\n  kubectl wait --for=condition=Ready pod/web --timeout=60s\n  kubectl wait --for=delete pod/web\n"
     "  kubectl wait --for=jsonpath='{.status.phase}'=Running pod/web\n",
     cmd_wait, NULL},
    {"label", NULL, "[--overwrite] " TYPES " KEY_1=VAL_1 ... KEY_N- [flags]", "Change the labels of objects", NULL,
     cmd_label, NULL},
    {"annotate", NULL, "[--overwrite] " TYPES " KEY_1=VAL_1 ... KEY_N- [flags]", "Change the annotations of objects", NULL,
     cmd_annotate, NULL},
    {"completion", NULL, "SHELL", "Print the completion script of a shell: bash", NULL, cmd_completion, NULL},
    {"api-resources", NULL, "[flags]", "List the types the server has", NULL, cmd_api_resources, NULL},
    {"api-versions", NULL, "[flags]", "List the API versions the server has", NULL, cmd_api_versions, NULL},
    {"config", NULL, "SUBCOMMAND [flags]", "Change kubeconfig files", NULL, NULL, config_commands},
    {"plugin", NULL, "SUBCOMMAND [flags]", "Look for plug-ins", NULL, NULL, plugin_commands},
    {"version", NULL, "[flags]", "Print the versions of client and server", NULL, cmd_version, NULL},
    {"options", NULL, "[flags]", "List the flags that every command takes", NULL, cmd_options, NULL},
    {0},
};

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

const struct command_group command_groups[] = {
    {"Basic Commands (Beginner)", NAMES("create", "expose", "run", "set")},
    {"Basic Commands (Intermediate)", NAMES("explain", "get", "edit", "delete")},
    {"Deploy Commands", NAMES("rollout", "scale", "autoscale")},
    {"Cluster Management Commands",
     NAMES("certificate", "cluster-info", "top", "cordon", "uncordon", "drain", "taint")},
    {"Troubleshooting and Debugging Commands",
     NAMES("describe", "logs", "attach", "exec", "port-forward", "proxy", "cp", "auth", "debug", "events")},
    {"Advanced Commands", NAMES("diff", "apply", "patch", "replace", "wait")},
    {"Settings Commands", NAMES("label", "annotate", "completion")},
    {"Other Commands", NAMES("api-resources", "api-versions", "config", "plugin", "version")},
    {NULL, NULL},
};
