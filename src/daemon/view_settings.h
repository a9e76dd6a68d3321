/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "daemon/settings.h"

/* An array of key, value, source and what is legal; of one key, or SETTING_KEYS:
 * of all, and of the [vm] sections. NULL: out of memory. */
json_t *view_settings(const Settings *settings, SettingKey only);
