/* openapi.S - the contract in both spellings, inside the program. openapi.json is generated from openapi.yaml by tests/http/make_openapi.py.
 * SPDX-License-Identifier: Apache-2.0 */
    .section .rodata
    .balign 16
    .global api_openapi_json, api_openapi_json_end, api_openapi_yaml, api_openapi_yaml_end
    .hidden api_openapi_json, api_openapi_json_end, api_openapi_yaml, api_openapi_yaml_end
api_openapi_json:
    .incbin "api/openapi.json"
api_openapi_json_end:
api_openapi_yaml:
    .incbin "api/openapi.yaml"
api_openapi_yaml_end:
    .section .note.GNU-stack, "", %progbits
