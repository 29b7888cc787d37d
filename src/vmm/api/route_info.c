/* SPDX-License-Identifier: Apache-2.0 */
/* GET /, /version and /vm/config. */
#include <errno.h>
#include <jansson.h>

#include "vmm/api/api_private.h"
#include "vmm/config_json.h"

static int answer_with(struct api_call *call, json_t *object, struct error *err)
{
    if (!object)
        return error_errno(err, ENOMEM, NULL, "build the answer");
    call->answer = object;
    return 0;
}

int get_instance(struct api_call *call, struct error *err)
{
    return answer_with(call,
                       json_pack("{s:s, s:s, s:s, s:s}", "id", vmm_id(call->vmm), "state",
                                 vmm_state_name(vmm_state(call->vmm)), "vmm_version", TINE_VERSION,
                                 "app_name", "tine-vmm"),
                       err);
}

int get_version(struct api_call *call, struct error *err)
{
    return answer_with(call,
                       json_pack("{s:s, s:s, s:b}", "firecracker_version", API_LEVEL,
                                 "tine_version", TINE_VERSION, "templates", 1),
                       err);
}

int get_vm_config(struct api_call *call, struct error *err)
{
    json_t *object = vm_config_write(vmm_config(call->vmm));
    if (object && call->api->metrics_path &&
        json_object_set_new(object, "metrics",
                            json_pack("{s:s}", "metrics_path", call->api->metrics_path)) < 0) {
        json_decref(object);
        object = NULL;
    }
    return answer_with(call, object, err);
}
